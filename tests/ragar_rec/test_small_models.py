"""Where the small models begin: the package's, a folder's, or fresh weights."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from film_world import config_file, film_folder, open_run
from generation.backbone.config import PACKAGED
from ragar_rec import pipeline, stages
from ragar_rec.errors import ConfigError
from ragar_rec.experiment import Experiment

SHAPE = {"encoder_width": 128, "encoder_layers": 3, "embed_dim": 64, "context": 32, "unet_widths": [64, 128]}


def opened(home: Path, **backbone: object) -> Experiment:
    config = config_file(home, **{f"backbone__{name}": value for name, value in backbone.items()})
    return open_run(config, home / "films", home / "out")


def test_the_package_is_used_as_it_is_where_no_step_is_asked_for(tmp_path: Path) -> None:
    film_folder(tmp_path / "films")
    run = opened(tmp_path, start="package", encoder_steps=0, unet_steps=0, **SHAPE)
    assert isinstance(run.encoder.weights, stages.Weights) and run.encoder.weights.source == str(PACKAGED / "encoder")
    assert isinstance(run.backbone, stages.Weights) and run.backbone.source == str(PACKAGED / "backbone")
    assert run.components.pipeline.edits
    assert run.encoder.model.dim == 64
    # pictures that are smaller than those of its training: the UNet takes any size
    assert run.components.reconstruct(["1"], run.ragar.warm.settings).shape == (1, 3, *run.pictures.size)


def test_the_package_names_no_folder_of_the_machine_that_made_it() -> None:
    named = [file for file in PACKAGED.rglob("*.json") if "_name_or_path" in file.read_text(encoding="utf-8")]
    assert named == []


def test_steps_adapt_the_package(tmp_path: Path) -> None:
    film_folder(tmp_path / "films")
    run = opened(tmp_path, start="package", encoder_steps=0, unet_steps=1, **SHAPE)
    assert isinstance(run.backbone, stages.UNetTraining) and run.backbone.initial is not None
    assert run.backbone.initial.source == str(PACKAGED / "backbone")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"encoder_width": 64}, "has encoder_width 128, but the config asks for encoder_width 64"),
        ({"unet_widths": [32, 64]}, r"has unet_widths \[64, 128\], but the config asks for unet_widths \[32, 64\]"),
    ],
)
def test_another_shape_than_the_packages_is_refused(tmp_path: Path, changes: dict, sentence: str) -> None:
    film_folder(tmp_path / "films")
    run = opened(tmp_path, start="package", encoder_steps=0, unet_steps=0, **{**SHAPE, **changes})
    with pytest.raises(ValueError, match=sentence):
        _ = run.components


def test_a_folder_without_models_is_named(tmp_path: Path) -> None:
    film_folder(tmp_path / "films")
    run = opened(tmp_path, start=str(tmp_path / "nowhere"), **SHAPE)
    with pytest.raises(FileNotFoundError, match=r"there is no .*nowhere/encoder; it is package, scratch, or a folder"):
        _ = run.components


@pytest.mark.parametrize("damaged", ["encoder/open_clip_model", "backbone/unet/diffusion_pytorch_model"])
@pytest.mark.parametrize("shipped", [True, False])
def test_a_damaged_file_is_named_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: str, shipped: bool
) -> None:
    """Truncated, in the package or in a copy of it: the message says which file it is, and how to get it again."""
    film_folder(tmp_path / "films")
    copied = shutil.copytree(PACKAGED, tmp_path / "models")
    file = copied / f"{damaged}.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    monkeypatch.setattr("ragar_rec.small_models.PACKAGED", copied)
    start = "package" if shipped else str(copied)
    run = opened(tmp_path, start=start, encoder_steps=0, unet_steps=0, **SHAPE)
    again = (
        "it came with this library: install it again, or, in a clone of the repository, `git checkout` the file"
        if shipped
        else f"copy {copied} again, or write backbone.start: package"
    )
    with pytest.raises(ValueError, match=rf"^{re.escape(str(file))} is damaged \(.*\): {re.escape(again)}$"):
        _ = run.components
    assert not run.store.ran


def test_an_encoder_that_the_package_s_unet_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="encoder_steps 5 change the words and features"):
        opened(tmp_path, start="package", encoder_steps=5, unet_steps=0, **SHAPE)


def test_without_steps_there_is_nothing_to_pretrain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film_folder(tmp_path / "films")
    folder = pipeline.pretrain(opened(tmp_path, start="package", encoder_steps=0, unet_steps=0, **SHAPE))
    assert folder == PACKAGED / "backbone"
    assert "whose models are used as they are: nothing is to be pretrained" in capsys.readouterr().out
