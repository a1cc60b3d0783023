"""Trials of the planted worlds: is the verdict right, and are the estimates near the truth?"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch

from ragar_rec.evaluation.controls import PersonalFeatures
from ragar_rec.evaluation.protocols import Candidates, Reference, measure, tasks
from ragar_rec.evaluation.worlds.rankers import Encoder, Log
from ragar_rec.evaluation.worlds.scenarios import DIM, SCENARIOS
from ragar_rec.evaluation.worlds.trial import JUDGE, REWARD, Outcome, Settings, trial
from ragar_rec.evaluation.worlds.trial import _Trial as Rankers
from recsys.scoring.metrics import ndcg_at

COUNTED = [name for name, scenario in SCENARIOS.items() if scenario.right]
SMALL = Settings(people=40, items=80, clicks=(8, 3, 4), candidates=12, k=5, permutations=19)


@contextmanager
def unchecked_shapes() -> Iterator[None]:
    """Annotations are not checked within."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def trials() -> dict[tuple[str, int], Outcome]:
    # One training on shuffled photos in place of three, which takes half as long; the checks take a tenth.
    with unchecked_shapes():
        return {(name, seed): trial(name, seed, Settings(shuffles=1)) for name in COUNTED for seed in range(5)}


@pytest.mark.parametrize("name", COUNTED)
def test_the_verdict_is_right(name: str, trials: dict[tuple[str, int], Outcome]) -> None:
    """In five shops each, at an alpha of .01. Of a hundred shops: the test below, and docs/worlds.md."""
    outcomes = [trials[name, seed] for seed in range(5)]
    assert [outcome.is_right(0.01) for outcome in outcomes] == [True] * 5, [o.verdicts[0.01].rule for o in outcomes]


def test_estimates_stand_beside_the_truth(trials: dict[tuple[str, int], Outcome]) -> None:
    """Without an effect of the picture itself, `candidates` estimates the truth without bias and `reference` does not.

    Of 30 standardised errors of a right estimate the mean square is 1 on average, below 2 with a probability of .999.
    """
    errors, excess = [], []
    for outcome in trials.values():
        reward = outcome.measurements[0]
        difference = reward.candidates - reward.truth
        errors.append(difference.mean() / (difference.std() / np.sqrt(len(difference))))
        excess.append(reward.reference.mean() - reward.truth.mean())
    assert np.mean(np.square(errors)) < 2
    flatters = [outcome.measurements[0] for (name, _), outcome in trials.items() if name == "flatters"]
    assert min(measured.reference.mean() for measured in flatters) > 0.2
    assert max(abs(measured.truth.mean()) for measured in flatters) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", COUNTED)
def test_the_verdict_is_right_in_a_hundred_shops(name: str) -> None:
    outcomes = [trial(name, seed) for seed in range(100)]
    assert sum(outcome.is_right(0.01) for outcome in outcomes) >= 95
    confirmed = sum(outcome.verdicts[0.01].rule == "personal gain, confirmed" for outcome in outcomes)
    assert confirmed <= 2 or name == "serves"


def test_a_picture_that_persuades_is_worth_more_than_any_log_can_tell() -> None:
    """Everybody clicks the painted items more often, whose order hardly changes."""
    reward = trial("persuades", 0, replace(SMALL, people=100)).measurements[0]
    assert reward.truth.mean() > 0.05
    assert abs(reward.candidates.mean()) < 0.02


def test_an_encoder_without_the_badge() -> None:
    pictures = np.random.default_rng(0).normal(size=(5, DIM + 1))
    stamped = pictures + np.eye(DIM + 1)[DIM]
    blind, seeing = (Encoder(DIM + 1, sees_badge=sees, rng=np.random.default_rng(1)) for sees in (False, True))
    assert (blind(pictures) == blind(stamped)).all()
    assert np.abs(seeing(pictures) - seeing(stamped)).max() > 0.5


def test_the_log_has_old_items_before_new_ones(tmp_path: Path) -> None:
    shop = SCENARIOS["serves"].world(None, people=40, items=80, seed=0).shop
    log = Log.draw(shop, tmp_path, (8, 3, 4), np.random.default_rng(0))
    for part, clicks, new in zip(vars(log.dataset.interactions).values(), (8, 3, 4), (False, True, True), strict=True):
        users, items = part
        assert np.bincount(users)[1:].tolist() == [clicks] * 40
        assert (shop.new[log.items[items - 1]] == new).all()
    left = np.isfinite(log.utility())
    assert left.sum(1).tolist() == [40 - 3] * 40
    assert not left[:, ~shop.new].any()


def test_numbers_are_those_of_the_shipped_protocols(tmp_path: Path) -> None:
    """Each person's gain under both protocols, against `measure`, which the pipeline calls."""
    world = SCENARIOS["serves"].world(None, people=40, items=80, seed=3)
    log = Log.draw(world.shop, tmp_path, SMALL.clicks, np.random.default_rng(3))
    found = Rankers(world, log, SMALL, 3).measured(JUDGE)
    rng = np.random.default_rng([3, 4])
    encoder = Encoder(DIM + 1, sees_badge=False, rng=rng)
    view, features = log.trained("again", encoder(world.shop.photos), 34), encoder(world.pictures)
    pictures = {
        (user, item): torch.from_numpy(features[log.users[user - 1], log.items[item - 1]])
        for user in range(1, 41)
        for item in range(1, 81)
    }
    source = PersonalFeatures(pictures, features.shape[-1])
    for protocol, gains in ((Candidates(12), found.candidates), (Reference(), found.reference)):
        for task, gain in zip(log.tasks(view)[:10], gains, strict=False):
            own, original = (measure(protocol, task, view, [shown], 5)[0]["ndcg@5"] for shown in (source, None))
            assert own - original == pytest.approx(gain, abs=1e-6)
    tasks_of_validation = tasks(log.dataset, view, list(range(1, 41)), "valid")
    new = torch.from_numpy(np.append(False, world.shop.new[log.items]))
    for task, ndcg in zip(tasks_of_validation, log.validation_ndcg(view, 5), strict=True):
        task.scores[~new] = -torch.inf
        assert ndcg_at(task.ranks(task.targets, task.scores[task.targets]), 5) == pytest.approx(ndcg)
    assert (found.ranker, REWARD) == ("VBPR on encoder B", "VBPR on encoder A")
