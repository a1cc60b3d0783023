"""Which pictures are drawn, of what and for whom."""

import pytest

from film_world import HOLE
from ragar_rec.experiment import Experiment
from ragar_rec.studies.picture_kinds import FidelitySettings, divided_rows, draw_kinds, requests_for, select


def test_two_disjoint_sets_are_drawn_from_what_was_held_out() -> None:
    training, held_out = list(range(0, 30, 3)), list(range(1, 30, 3))
    selection = select(training, held_out, 4, 0)
    assert (len(selection.judges), len(selection.others)) == (4, 4)
    assert not set(selection.judges) & set(selection.others)
    assert set(selection.judges + selection.others) <= set(held_out)
    assert selection.training == training
    assert selection.references.tolist() == [-1] * 4
    assert len(select(training, held_out, 1000, 0).others) == 5
    assert select(training, held_out, 4, 1) != selection


def test_without_any_from_what_was_learned_and_the_reference_is_known() -> None:
    training = list(range(0, 30, 3))
    selection = select(training, [], 3, 0)
    assert [training[at] for at in selection.references.tolist()] == selection.others
    with pytest.raises(ValueError, match="3 pictures make no two sets"):
        select([1, 2, 3], [], 5, 0)


def test_references_are_rendered_for_people_kept_from_training_without_their_own_history(run: Experiment) -> None:
    rows = [row for row in range(len(run.pictures.items)) if run.pictures.items[row].id != HOLE]
    requests = requests_for(run, rows, 0)
    assert [request.reference for request in requests] == [run.pictures.items[row].id for row in rows]
    assert {run.ranker.dataset.user_id(request.user) for request in requests} <= set(run.ragar.people.test)
    assert all(request.reference not in request.history for request in requests)
    assert len({request.seed for request in requests}) == len(requests)


def test_a_backbone_that_edits_draws_nothing_from_noise_alone(run: Experiment) -> None:
    selection = select(*divided_rows(run), 4, 0)
    kinds = draw_kinds(run, selection, FidelitySettings(n=4))
    assert list(kinds) == [
        "real at the generator's size",
        "reconstruction",
        "by its own condition",
        "by another's condition",
        "v_gen",
        "v_glob",
    ]
    assert {len(images) for images in kinds.values()} == {4}
