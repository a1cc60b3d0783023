"""The experiment on two dozen films: what it measures, and what it writes."""

import json
from pathlib import Path

import pytest

from experiments import pictures
from film_world import config_file, open_run
from ragar_rec.evaluation.fidelity import frechet_distance
from ragar_rec.experiment import Experiment
from ragar_rec.studies.picture_kinds import divided_rows, select


@pytest.fixture(scope="module")
def output(films: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Experiment]:
    home = tmp_path_factory.mktemp("pictures")
    config = config_file(home, backbone__held_out=0.5, backbone__task="image-to-image")
    paths = [f"--config={config}", f"--data={films}", f"--output={home / 'out'}"]
    arguments = [*paths, "--references=3", "--people=2", "--draw-seed=1", "--evaluation.users=4", "--seed=7"]
    assert pictures.main(arguments) == 0
    return home / "out", open_run(
        config_file(home, backbone__held_out=0.5, backbone__task="image-to-image", seed=7), films, home / "out"
    )


def test_every_kind_is_measured_against_the_same_real_pictures(output: tuple[Path, Experiment]) -> None:
    """24 films, one without a poster: 12 are held out, 6 judge; the floor is worked out again from the features."""
    folder, run = output
    found = json.loads((folder / "pictures" / "pictures.json").read_text())
    assert (found["pictures"], found["training_pictures"], found["encoder"]) == (6, 11, "dual")
    assert found["compared_with"] == "pictures kept from the backbone"
    assert (found["arguments"]["draw_seed"], found["run"]["config"]["recbole"]["seed"]) == ("1", 7)
    selection = select(*divided_rows(run), 1000, 1)
    values = run.ranker.original_features.table
    judges, others = (
        values[[run.ranker.dataset.item_id(run.pictures.items[row].id) for row in part]]
        for part in (selection.judges, selection.others)
    )
    assert found["frechet"]["real"] == pytest.approx(frechet_distance(others, judges), rel=1e-6)
    # the dual encoder looks at the generator's size anyway
    assert found["frechet"]["real at the generator's size"] == pytest.approx(found["frechet"]["real"], rel=1e-3)
    made = set(found["frechet"]) - {"real"}
    assert made == set(found["copies_in_features"]) == set(found["copies_in_pixels"]) == set(found["identity"])
    assert found["identity"]["real at the generator's size"] == pytest.approx(1)
    assert found["identity"]["reconstruction"] > found["identity"]["unconditional"]
    error = (
        run.components.pipeline.reconstruct(run.pictures.images[selection.others].float() / 255)
        - run.pictures.images[selection.others].float() / 255
    )
    assert found["psnr_of_reconstruction"] == pytest.approx(float(-10 * (error**2).mean().log10()), rel=1e-5)
    assert {file.name for file in (folder / "pictures").iterdir()} == {
        "pictures.json",
        "people.png",
        "kinds.png",
        "closest.png",
    }


def test_a_mistake_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pictures.main(["--guid=2"]) == 2
    assert "unknown key `guid`" in capsys.readouterr().err
    assert pictures.main([f"--config={tmp_path / 'gone.yaml'}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"pictures: no config file at {tmp_path / 'gone.yaml'}, and no preset of that name")
