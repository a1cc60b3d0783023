"""For whom pictures of a catalogue's items are made: training interactions alone decide."""

from pathlib import Path

import numpy as np
import pytest
import torch

from film_world import TINY
from ragar_rec.evaluation.audience import Viewer, audience_requests, exchanged_audiences, own_audiences
from recsys.data import ml_latest
from recsys.recbole.dataset import Dataset

ITEMS = range(1, 25)


def no_scores(users: torch.Tensor) -> torch.Tensor:
    raise AssertionError("every item has people: no ranker is asked")


@pytest.fixture(scope="module")
def cold(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Ten of the 24 films withheld: half for validation, half for the test."""
    folder = tmp_path_factory.mktemp("cold")
    ml_latest.prepare(films, folder)
    keys = {key: TINY[key] for key in ("dataset", "TIME_FIELD", "load_col", "use_gpu")}
    return Dataset.load(keys | {"data_path": str(folder), "eval_args": {"split": {"COLD": 0.4}}})


def test_an_audience_has_everybody_with_the_item_and_what_came_before_it(dataset: Dataset) -> None:
    audiences = own_audiences(dataset, ITEMS, 30, 0, no_scores)
    for item in ITEMS:
        expected = {
            (user, dataset.history(user).tolist().index(item))
            for user in range(1, 31)
            if item in dataset.history(user)[1:]
        }
        assert set(audiences[item]) == expected


def test_a_drawn_audience_is_a_part_and_does_not_depend_on_the_other_items(dataset: Dataset) -> None:
    everybody = own_audiences(dataset, ITEMS, 30, 0, no_scores)
    two, alone = own_audiences(dataset, ITEMS, 2, 0, no_scores), own_audiences(dataset, [5], 2, 0, no_scores)
    assert all(len(two[item]) == 2 and set(two[item]) <= set(everybody[item]) for item in ITEMS)
    assert two[5] == alone[5]
    assert two != own_audiences(dataset, ITEMS, 2, 1, no_scores)


def test_an_item_that_nobody_has_goes_to_those_who_like_it_most_by_their_own_measure(cold: Dataset) -> None:
    """Raw scores would choose user 7; in deviations of the user's own scores it is user 3, then user 4."""
    item = int(np.setdiff1d(np.arange(1, 25), cold.interactions.train[1])[0])
    scores = torch.zeros(cold.n_users, cold.n_items)
    scores[7, 1::2], scores[7, 2::2] = 100.0, -100.0
    scores[7, item] = 101.0
    scores[3, item] = 1.0
    scores[4, [item, item % 24 + 1]] = 1.0
    audience = own_audiences(cold, [item], 2, 0, lambda users: scores[users])[item]
    assert list(audience) == [Viewer(3, len(cold.history(3))), Viewer(4, len(cold.history(4)))]


def test_other_audiences_never_had_the_item_and_are_those_of_other_items(dataset: Dataset) -> None:
    own = own_audiences(dataset, ITEMS, 1, 0, no_scores)
    exchanged = exchanged_audiences(dataset, own, 0)
    audiences = {tuple(viewers) for viewers in own.values()}
    for item, viewers in exchanged.items():
        assert tuple(viewers) in audiences
        assert not {viewer.user for viewer in viewers} & {viewer.user for viewer in own[item]}
        assert all(item not in dataset.history(viewer.user) for viewer in viewers)
    assert exchanged == exchanged_audiences(dataset, own, 0) != exchanged_audiences(dataset, own, 1)


@pytest.mark.parametrize(("exchange", "count"), [(False, 3), (True, 1)])
def test_requests_hold_nothing_of_validation_or_test(dataset: Dataset, exchange: bool, count: int) -> None:
    audiences = own_audiences(dataset, ITEMS, count, 0, no_scores)
    if exchange:
        audiences = exchanged_audiences(dataset, audiences, 0)
    requests = audience_requests(dataset, audiences, 0)
    assert {request.reference for request in requests} == set(map(str, dataset.item_tokens[1:]))
    for request in requests:
        training = dataset.item_tokens[dataset.history(dataset.user_id(request.user))].tolist()
        assert 0 < len(request.history) < len(training)
        assert list(request.history) == training[: len(request.history)]
        if not exchange:  # the next one is the item itself
            assert training[len(request.history)] == request.reference
        assert request.reference not in request.history
