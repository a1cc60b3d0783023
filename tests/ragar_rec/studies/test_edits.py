"""What the backbone alone gives back, and how far another's condition moves it."""

import pytest
import torch

from ragar_rec.evaluation.people import request_seed
from ragar_rec.experiment import Experiment
from ragar_rec.studies.edits import EditSettings, edits, edits_line, rendered, shift_interval


def test_all_or_nothing_of_the_way_has_no_spread() -> None:
    origin, goal = torch.rand(2, 5, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    assert shift_interval(goal, origin, origin, goal) == pytest.approx({"value": 1, "low": 1, "high": 1})
    assert shift_interval(origin, origin, origin, goal) == {"value": 0, "low": 0, "high": 0}


def test_the_way_is_that_of_all_pictures_and_its_interval_of_who_is_among_them() -> None:
    """Of grey pictures two go all the way of 1, two none: a half; resamples go none of it up to all of it."""
    origin = torch.zeros(4, 3, 1, 1)
    moved = torch.tensor([1.0, 1.0, 0.0, 0.0]).view(4, 1, 1, 1).expand(4, 3, 1, 1)
    assert shift_interval(moved, origin, origin, torch.ones(4, 3, 1, 1)) == {"value": 0.5, "low": 0, "high": 1}


def test_a_picture_is_drawn_by_the_caption_and_feature_of_a_row(run: Experiment) -> None:
    backbone, gallery = run.components.pipeline, run.components.gallery
    references = torch.rand(2, 3, *run.pictures.size, generator=torch.Generator().manual_seed(0))
    found = rendered(run, [4, 2], references, 7)
    assert backbone.picture_tokens is not None
    rows = backbone.picture_tokens(gallery.visual[[4, 2]])
    condition = torch.cat([rows, backbone.states([gallery.captions[4], gallery.captions[2]])], dim=1)
    seeds = [request_seed(7, "image-to-image", number) for number in "01"]
    torch.testing.assert_close(found, backbone.draw(condition, references, seeds, run.config.generator))


def test_every_picture_is_measured_by_both_conditions(run: Experiment) -> None:
    """24 films, one without a poster."""
    results = edits(run, EditSettings(n=100))
    assert (results["pictures"], results["size"]) == (23, [32, 32])
    shift = results["palette_shift"]
    assert shift["low"] <= shift["value"] <= shift["high"]
    assert edits(run, EditSettings(n=4, draw_seed=1))["pictures"] == 4
    line = edits_line(results)
    assert line.startswith("23 pictures of 32 x 32 px: the own condition gives back ")
    with pytest.raises(ValueError, match="n 1: another's condition needs at least 2 pictures"):
        EditSettings(n=1)
