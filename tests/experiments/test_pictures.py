"""The experiment on two dozen films: which pictures it draws, what a sheet shows, and what it writes."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from experiments import pictures
from film_world import HOLE, config_file, film_folder, open_run
from ragar_rec.evaluation.fidelity import frechet_distance
from ragar_rec.experiment import Experiment


def rows(learned: list[int], held_out: list[int]) -> Any:
    return SimpleNamespace(learned=learned, held_out=held_out)


def test_two_disjoint_sets_are_drawn_from_what_was_held_out() -> None:
    run = rows(list(range(0, 30, 3)), list(range(1, 30, 3)))
    drawn = pictures.draw(run, 4, 0)
    assert (len(drawn.judges), len(drawn.others)) == (4, 4)
    assert not set(drawn.judges) & set(drawn.others)
    assert set(drawn.judges + drawn.others) <= set(run.encoder.weights.held_out_rows)
    assert drawn.training == run.encoder.weights.rows
    assert drawn.references.tolist() == [-1] * 4
    assert len(pictures.draw(run, 1000, 0).others) == 5
    assert pictures.draw(run, 4, 1) != drawn


def test_without_any_from_what_was_learned_and_the_reference_is_known() -> None:
    run = rows(list(range(0, 30, 3)), [])
    drawn = pictures.draw(run, 3, 0)
    assert [run.encoder.weights.rows[at] for at in drawn.references.tolist()] == drawn.others
    with pytest.raises(ValueError, match="3 pictures make no two sets"):
        pictures.draw(rows([1, 2, 3], []), 5, 0)


def test_a_sheet_has_a_column_a_kind(tmp_path: Path) -> None:
    """Pictures of 4 x 2 pixels, doubled, 6 pixels apart, 24 below the top: the second column's second is blue."""
    red, blue = (torch.tensor(colour).view(1, 3, 1, 1).expand(1, 3, 4, 2) for colour in ((1.0, 0, 0), (0, 0, 1.0)))
    pictures.sheet({"a": red, "b": torch.cat([red, blue])}, tmp_path / "sheet.png")
    grid = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert grid.shape == (24 + 2 * 14, 2 * 10 + 6, 3)
    assert (grid[24:32, 6:10] == (255, 0, 0)).all()
    assert (grid[38:46, 16:20] == (0, 0, 255)).all()
    assert (grid[38:46, 6:10] == 255).all()


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Experiment]:
    home = tmp_path_factory.mktemp("films")
    data, config = film_folder(home / "raw"), config_file(home, backbone__held_out=0.5)
    how = [f"--config={config}", f"--data={data}", f"--output={home / 'out'}", "--references=3", "--people=2"]
    assert pictures.main([*how, "--draw-seed=1", "--evaluation.users=4", "--seed=7"]) == 0
    return home / "out", open_run(config_file(home, backbone__held_out=0.5, seed=7), data, home / "out")


def test_every_kind_is_measured_against_the_same_real_pictures(output: tuple[Path, Experiment]) -> None:
    """24 films, one without a poster: 12 are held out, 6 judge; the floor is worked out again from the features."""
    folder, run = output
    found = json.loads((folder / "pictures" / "pictures.json").read_text())
    assert (found["pictures"], found["training_pictures"], found["encoder"]) == (6, 11, "dual")
    assert found["compared_with"] == "pictures kept from the backbone"
    assert (found["arguments"]["draw_seed"], found["run"]["config"]["recbole"]["seed"]) == ("1", 7)
    drawn = pictures.draw(run, 1000, 1)
    values = run.ranker.original_features.table
    judges, others = (
        values[[run.ranker.dataset.item_id(run.pictures.items[row].id) for row in part]]
        for part in (drawn.judges, drawn.others)
    )
    assert found["frechet"]["real"] == pytest.approx(frechet_distance(others, judges), rel=1e-6)
    # the dual encoder looks at the generator's size anyway
    assert found["frechet"]["real at the generator's size"] == pytest.approx(found["frechet"]["real"], rel=1e-3)
    made = set(found["frechet"]) - {"real"}
    assert made == set(found["copies_in_features"]) == set(found["copies_in_pixels"]) == set(found["identity"])
    assert found["identity"]["real at the generator's size"] == pytest.approx(1)
    assert found["identity"]["reconstruction"] > found["identity"]["unconditional"]
    error = (
        run.components.pipeline.reconstruct(run.pictures.images[drawn.others].float() / 255)
        - run.pictures.images[drawn.others].float() / 255
    )
    assert found["psnr_of_reconstruction"] == pytest.approx(float(-10 * (error**2).mean().log10()), rel=1e-5)
    assert {file.name for file in (folder / "pictures").iterdir()} == {
        "pictures.json",
        "people.png",
        "kinds.png",
        "closest.png",
    }


def test_references_are_rendered_for_people_kept_from_training_without_their_own_history(
    output: tuple[Path, Experiment],
) -> None:
    _, run = output
    drawn = [row for row in range(len(run.pictures.items)) if run.pictures.items[row].id != HOLE]
    asked = pictures.requests_for(run, drawn, 0)
    assert [request.reference for request in asked] == [run.pictures.items[row].id for row in drawn]
    assert {run.ranker.dataset.user_id(request.user) for request in asked} <= set(run.system.people.test)
    assert all(request.reference not in request.history for request in asked)
    assert len({request.seed for request in asked}) == len(asked)


def test_a_mistake_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pictures.main(["--guid=2"]) == 2
    assert "unknown key `guid`" in capsys.readouterr().err
    assert pictures.main([f"--config={tmp_path / 'gone.yaml'}"]) == 2
    assert capsys.readouterr().err == f"pictures: no config file at {tmp_path / 'gone.yaml'}; name one with --config\n"
