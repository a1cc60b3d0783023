"""Who is named by whose picture, and that sheet and key say the same."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from ragar_rec.evaluation.people import training_requests
from ragar_rec.experiment import Experiment
from ragar_rec.studies.naming import (
    Naming,
    NamingSettings,
    draw_cases,
    named_by_colour,
    naming,
    naming_line,
    retrieved_rows,
    save_naming_sheet,
    strangers,
)

BLACK, GREY, WHITE, RED = (0.0, 0.0, 0.0), (0.5, 0.5, 0.5), (1.0, 1.0, 1.0), (1.0, 0.0, 0.0)
SMALL = NamingSettings(n=3, rows=2, strangers=2)


def constant(*people: tuple[tuple[float, float, float], ...]) -> torch.Tensor:
    """Pictures of 4 x 2 pixels of one colour each, a row of them a person."""
    return torch.tensor(people)[..., None, None].expand(-1, -1, -1, 4, 2)


@pytest.fixture
def cases() -> Naming:
    """The mean of black and white is grey, the mean of two reds is red: the first person is named, the second not."""
    retrieved = constant((BLACK, WHITE), (RED, RED))
    return Naming(("one", "two"), retrieved, constant((GREY, RED, WHITE), (GREY, RED, BLACK)))


def test_a_person_is_named_by_the_nearest_mean_colour(cases: Naming) -> None:
    assert named_by_colour(cases).tolist() == [1, 0]


def test_the_key_says_which_column_of_the_sheet_is_the_persons_own(cases: Naming, tmp_path: Path) -> None:
    """Pictures doubled to 8 x 4 pixels, 6 apart, after 20 pixels of numbers and two columns of history."""
    file = tmp_path / "sheet-1.png"
    for seed in range(4):  # other orders
        key = save_naming_sheet(cases, [1, 0], np.random.default_rng(seed), file)
        sheet = np.asarray(Image.open(file))
        assert sheet.shape == (24 + 2 * 14, 26 + 5 * 10, 3)
        assert [(entry["person"], entry["row"], entry["sheet"]) for entry in key] == [
            ("two", 1, "sheet-1.png"),
            ("one", 2, "sheet-1.png"),
        ]
        for entry in key:
            left, top = 26 + 10 * (2 + "ABC".index(entry["own"])), 24 + 14 * (entry["row"] - 1)
            assert (sheet[top : top + 8, left : left + 4] == 128).all()  # both own pictures are grey
        assert (sheet[24:32, 26:30] == (255, 0, 0)).all()  # the history of the first row


def test_strangers_do_not_know_the_item_and_pictures_are_the_generators(run: Experiment) -> None:
    cases, dataset, ragar = draw_cases(run, SMALL), run.ragar.dataset, run.ragar.generator
    assert cases.drawn.shape[:2] == (len(cases.people), 3)
    assert {dataset.user_id(user) for user in cases.people} <= set(run.ragar.people.test)
    everybody = training_requests(dataset, run.ragar.people.test, run.pictures.pictured, 5)
    own = next(request for request in everybody if request.user == cases.people[0])
    others = strangers(run, own, everybody, SMALL)
    assert len({own.user, *(other.user for other in others)}) == 3
    for other in others:
        assert own.reference not in dataset.item_tokens[dataset.history(dataset.user_id(other.user))]
    torch.testing.assert_close(cases.drawn[0], ragar.generate([own, *others]), atol=1e-5, rtol=0)
    (rows,) = retrieved_rows(ragar, [own])
    torch.testing.assert_close(cases.retrieved[0] * 255, ragar.gallery.images[rows].float(), atol=1e-3, rtol=0)


def test_sheets_and_key_are_written_and_the_share_is_over_everybody(run: Experiment) -> None:
    results, folder = naming(run, SMALL), run.output / "naming"
    key = pd.read_csv(folder / "key.csv")
    assert (len(key), key["sheet"].nunique()) == (3, 2)
    assert {file.name for file in folder.iterdir()} >= {"sheet-1.png", "sheet-2.png", "key.csv"}
    named = named_by_colour(draw_cases(run, SMALL))
    assert results["named"]["value"] == pytest.approx(named.mean())
    assert naming_line(results).endswith(f"of {len(named)} people, 0.33 by chance")


def test_too_few_others_are_an_error(run: Experiment) -> None:
    with pytest.raises(ValueError, match=r"nobody of \d+ people kept from training has 2 pictured .* and 9 others"):
        draw_cases(run, NamingSettings(strangers=9))
