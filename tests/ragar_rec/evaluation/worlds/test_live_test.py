"""Arms of a live test, their differences by hand, and a verdict for each kind of effect."""

import numpy as np
import pytest

from ragar_rec.evaluation.worlds.live_test import ARMS, Arm, difference, live_verdict, split


def test_arms_are_a_division_of_all_people() -> None:
    arms = split(11, np.random.default_rng(0))
    assert list(arms) == list(ARMS) == ["photos", "own", "stranger"]
    assert [len(arm) for arm in arms.values()] == [4, 4, 3]
    assert sorted(np.concatenate(list(arms.values())).tolist()) == list(range(11))


def test_welchs_interval_by_hand() -> None:
    """(1, 3) and (0, 1, 5): means 2 and 2, squared errors 2 / 2 = 1 and 7 / 3.

    The error is sqrt(10 / 3) = 1.8257, the degrees of freedom (10 / 3)^2 / (1 + (7 / 3)^2 / 2) = 2.9850; the .975
    quantile of that t is 3.189.
    """
    found = difference(np.array([1.0, 3]), np.array([0.0, 1, 5]), 0.95)
    assert (found.value, found.n) == (0, 5)
    assert found.error == pytest.approx(1.8257, abs=1e-4)
    assert found.freedom == pytest.approx(2.9850, abs=1e-4)
    assert found.high == -found.low == pytest.approx(3.189 * 1.8257, abs=0.01)
    with pytest.raises(ValueError, match="at least two people in each, got 1 and 3"):
        difference(np.array([1.0]), np.array([0.0, 1, 5]), 0.95)


@pytest.mark.parametrize(
    ("photos", "own", "stranger", "rule", "words"),
    [
        (0.10, 0.14, 0.11, "personal gain, confirmed", "Yes: NDCG@10 of those who saw pictures made for them differs"),
        (0.10, 0.14, 0.14, "gain, not personal", "not shown that they must be the person's own"),
        (0.10, 0.07, 0.10, "harm", "Pictures do harm"),
        (0.10, 0.10, 0.10, "no gain", "No: "),
        (0.10, 0.1045, 0.10, "inconclusive", "would have been seen with a probability of 80 %"),
    ],
)
def test_verdicts(photos: float, own: float, stranger: float, rule: str, words: str) -> None:
    """100 people an arm with a standard deviation of .01: a difference has an error of .0014, or of .0028 where the
    deviation is .02; the smallest gain of interest is .005.
    """
    deviation = 0.02 if rule == "inconclusive" else 0.01
    wave = deviation * np.tile([-1.0, 1.0], 50)
    arms: dict[Arm, np.ndarray] = {"photos": photos + wave, "own": own + wave, "stranger": stranger + wave}
    found = live_verdict(arms, metric="NDCG@10", smallest_gain=0.05, alpha=0.01)
    assert found.rule == rule
    assert words in found.sentence
    assert found.numbers["reward"]["gain"]["value"] == pytest.approx(own - photos)
