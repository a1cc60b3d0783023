"""Presets, which are found by name from any folder."""

from pathlib import Path

import pytest

from ragar_rec.config.config import Config
from ragar_rec.config.presets import DEFAULT, find_config, preset_names


def test_the_presets_are_listed_by_name() -> None:
    names = preset_names()
    assert names == sorted(names)
    assert {"ml-100k", "ml-100k-long", "mmrec", "movie-posters", "own", "sd15"} <= set(names)
    assert DEFAULT in names


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_is_read_by_its_name_from_anywhere(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    overrides = ["--models.device=cpu", "--models.precision=float32"]  # sd15 asks for a GPU
    config = Config.read(name, overrides)
    assert config == Config.read(find_config(name), overrides)
    assert config.recbole["model"] == "MICRO"


def test_a_file_wins_over_a_preset_of_its_name_and_a_folder_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own").mkdir()  # where somebody keeps the catalogue
    assert find_config("own").parent.name == "presets"
    Path("sd15").write_text("model: Pop")
    assert Config.read("sd15").recbole["model"] == "Pop"


def test_a_name_that_is_neither_lists_the_presets(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        find_config("owm")
    presets = ", ".join(preset_names())
    assert str(caught.value) == f"no config file at owm, and no preset of that name; presets are {presets}"
    with pytest.raises(FileNotFoundError, match=r"gone\.yaml, and no preset"):
        Config.read(tmp_path / "gone.yaml")


def test_mmrec_takes_the_recommended_settings_and_the_reference_codes_have_a_name() -> None:
    recommended, reference = Config.read("mmrec").recbole, Config.read("mmrec-reference").recbole
    settings = {"learning_rate": 0.005, "train_batch_size": 4096, "epochs": 60, "eval_step": 4, "stopping_step": 4}
    assert dict(recommended) == {**reference, **settings}
