"""A live test and its verdict: people are split at random into arms, and each arm sees other pictures.

The rules are those of a verdict from a log (`ragar_rec.evaluation.verdict`). What differs is who speaks: people who
clicked under the pictures that they saw, in place of a ranker that scores them. They took no part in making the
pictures and need no judge to confirm them; and arms are compared in place of the same person's lists.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from ragar_rec.evaluation.finding import signed
from ragar_rec.evaluation.verdict import Evidence, JudgeEvidence, Rule, Verdict, verdict
from recsys.scoring.statistics import Interval, visible_gain

Arm = Literal["photos", "own", "stranger"]
"""What people are shown: the items' photos, pictures made for them, or pictures made for somebody else."""
ARMS: tuple[Arm, ...] = get_args(Arm)


def split(people: int, rng: np.random.Generator) -> dict[Arm, Int[np.ndarray, " arm"]]:
    """Divide people into three arms at random; their sizes differ by at most one."""
    parts = np.array_split(rng.permutation(people), len(ARMS))
    return {arm: np.sort(part) for arm, part in zip(ARMS, parts, strict=True)}


def difference(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " m"], confidence: float) -> Interval:
    """Mean of ``a`` less mean of ``b``, of different people, with its t interval (Welch 1947).

    Raises:
        ValueError: one of the two has fewer than two people.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"a comparison of arms needs at least two people in each, got {len(a)} and {len(b)}")
    value, n = float(a.mean() - b.mean()), len(a) + len(b)
    parts = [float(np.var(arm, ddof=1)) / len(arm) for arm in (a, b)]
    error = math.sqrt(sum(parts))
    if error == 0:
        return Interval(value, value, value, n)
    # Satterthwaite's degrees of freedom
    freedom = error**4 / sum(part**2 / (len(arm) - 1) for part, arm in zip(parts, (a, b), strict=True))
    reach = float(stats.t.ppf((1 + confidence) / 2, freedom)) * error
    return Interval(value, value - reach, value + reach, n, error, freedom)


def live_verdict(
    arms: Mapping[Arm, Float[np.ndarray, " arm"]], *, metric: str, smallest_gain: float, alpha: float
) -> Verdict:
    """The verdict on pictures that were shown.

    Args:
        arms: the metric of everybody's clicks under what was shown to them.
        metric: its name, ``NDCG@10``.
        smallest_gain: the smallest gain of interest, as a share of the metric under the photos.
        alpha: the probability of a false rejection.
    """
    gain, personal = (difference(arms["own"], arms[other], 1 - alpha) for other in ("photos", "stranger"))
    # No owners are permuted: who sees whose pictures was drawn, and one stranger's whole list is the comparison.
    people = JudgeEvidence("the live test", gain, None, 0.0, stranger=personal)
    evidence = Evidence("live test", metric, people, float(arms["photos"].mean()), rewarded=False)
    found = verdict(evidence, smallest_gain=smallest_gain, alpha=alpha)
    return replace(found, sentence=_sentence(found.rule, metric, gain, personal, alpha))


def _sentence(rule: Rule, metric: str, gain: Interval, personal: Interval, alpha: float) -> str:
    level = f"({100 * (1 - alpha):.3g} % interval)"
    moved = f"{metric} of those who saw pictures made for them differs by {signed(gain)} {level} from the photos'"
    less = f"from that of those who saw a stranger's by {signed(personal)}"
    if rule == "harm":
        return f"Pictures do harm: {moved}."
    if rule == "personal gain, confirmed":
        return f"Yes: {moved}, and {less}."
    if rule == "gain, not personal":
        return f"Pictures help, but it is not shown that they must be the person's own: {moved}, {less}."
    if rule == "no gain":
        return f"No: {moved}."
    least = visible_gain(gain.error, confidence=1 - alpha)
    return f"Not decided: {moved}; a gain of {least:.4f} would have been seen with a probability of 80 %."
