import logging
from copy import copy
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ragar_rec.evaluation.people import divide, known_history, request_seed, sample, training_requests
from recsys.recbole.dataset import Dataset, Interactions

EVERYBODY = range(1, 31)


def tokens(dataset: Dataset, part: str, user: int) -> list[str]:
    users, items = getattr(dataset.interactions, part)
    return [str(token) for token in dataset.item_tokens[items[users == user]]]


def test_groups_are_disjoint_and_nobody_is_lost(dataset: Dataset):
    """Of 30 people 0.2 are 6 for the test, half as many for validation, 21 for training."""
    people = divide(dataset, 0.2, seed=0)
    assert (len(people.train), len(people.valid), len(people.test)) == (21, 3, 6)
    assert sorted(people.train + people.valid + people.test) == list(EVERYBODY)
    assert divide(dataset, 0.2, seed=0) == people
    assert divide(dataset, 0.2, seed=1) != people


def test_the_reference_is_the_last_training_item_with_a_picture(dataset: Dataset):
    """Ten training items a person: without pictures for the last two, the eighth is asked for after seven others."""
    user = 4
    history = tokens(dataset, "train", user)
    assert len(history) == 10
    (request,) = training_requests(dataset, [user], frozenset(history), seed=0)
    assert request.user == dataset.user_tokens[user]
    assert (request.reference, list(request.history)) == (history[9], history[:9])
    (request,) = training_requests(dataset, [user], frozenset(history[:8]), seed=0)
    assert (request.reference, list(request.history)) == (history[7], history[:7])
    assert training_requests(dataset, [user], frozenset(history[:1]), seed=0) == []
    assert training_requests(dataset, [user], frozenset(), seed=0) == []


@pytest.mark.parametrize("split", [{"RS": [0.8, 0.1, 0.1]}, {"RS": [0.5, 0.2, 0.3]}, {"LS": "valid_and_test"}])
def test_no_held_out_item_is_requested_before_evaluation(dataset: Dataset, split):
    """Over all people: neither reference nor history holds an item of validation or test, though all have pictures."""
    config = {"data_path": str(Path(str(dataset.config["data_path"])).parent), "dataset": "ml-latest"}
    keys = {"TIME_FIELD": "position", "load_col": dataset.config["load_col"], "eval_args": {"split": split}}
    world = Dataset.load({**config, **keys, "use_gpu": False})
    pictured = frozenset(str(token) for token in world.item_tokens[1:])
    requests = training_requests(world, list(EVERYBODY), pictured, seed=0)
    assert len(requests) == 30
    for request in requests:
        user = world.user_id(request.user)
        asked = [*request.history, request.reference]
        held_out = {*tokens(world, "valid", user), *tokens(world, "test", user)}
        assert len(held_out) >= 2
        assert not held_out & set(asked)
        assert asked == tokens(world, "train", user)


def test_what_is_known_at_the_test_is_training_then_validation_and_never_the_test(dataset: Dataset):
    for user in EVERYBODY:
        known = known_history(dataset, user)
        assert list(known) == [*tokens(dataset, "train", user), *tokens(dataset, "valid", user)]
        assert not set(known) & set(tokens(dataset, "test", user))


def test_a_sample_is_drawn_once_and_grows_to_everybody(dataset: Dataset):
    six = sample(dataset, 6, seed=0)
    assert len(six) == 6 == len(set(six))
    assert all(a < b for a, b in pairwise(six))
    assert six == sample(dataset, 6, seed=0) != sample(dataset, 6, seed=1)
    assert sample(dataset, 0, seed=0) == sample(dataset, 30, seed=3) == sample(dataset, 99, seed=1) == list(EVERYBODY)


def test_who_has_no_history_before_the_test_is_left_out_and_counted(dataset: Dataset, caplog):
    """3 and 5 have test items alone: 28 of 30 people are left; 5 too where an item of hers is for validation."""
    train, valid, test = vars(dataset.interactions).values()

    def world(without_train: list[int], without_valid: list[int]) -> Dataset:
        parts, changed = [], copy(dataset)
        for (users, items), left in ((train, without_train), (valid, without_valid)):
            kept = ~np.isin(users, left)
            parts.append((users[kept], items[kept]))
        changed.interactions = Interactions(parts[0], parts[1], test)
        return changed

    with caplog.at_level(logging.INFO):
        assert sample(world([3, 5], [3, 5]), 0, seed=0) == [user for user in EVERYBODY if user not in (3, 5)]
        assert sample(world([3, 5], [3]), 0, seed=0) == [user for user in EVERYBODY if user != 3]
        assert not {3, 5} & set(sample(world([3, 5], [3, 5]), 27, seed=0))
        sample(dataset, 0, seed=0)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        f"{left} of 30 people with test interactions are left out" for left in (2, 1, 2)
    ]
    with pytest.raises(ValueError, match="no user of the test has an earlier interaction"):
        sample(world([*EVERYBODY], [*EVERYBODY]), 6, seed=0)


def test_request_seeds_differ_by_run_user_and_item():
    seeds = {request_seed(run, f"u{user}", f"i{item}") for run in range(3) for user in range(20) for item in range(20)}
    assert len(seeds) == 3 * 20 * 20
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert request_seed(0, "1", "23") != request_seed(0, "12", "3")
    assert np.ptp([len(f"{seed:b}") for seed in seeds]) < 20  # no small numbers among them
