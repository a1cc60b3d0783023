"""Statistics over users: means, medians and paired differences with bootstrap confidence intervals.

The unit of resampling is the user: several values of one user (seeds, windows) are averaged first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

Statistic = Callable[..., np.ndarray]
"""A function of an array and `axis`, such as `np.mean`."""

Values = Sequence[float] | Float[np.ndarray, " n"]

BATCH = 500
"""Bootstrap resamples computed at a time; all at once would take resamples x users numbers of memory."""


@dataclass(frozen=True)
class Interval:
    """A statistic and the ends of its bootstrap confidence interval over ``n`` users."""

    value: float
    low: float
    high: float
    n: int


def per_user_mean(values: Values, users: Sequence[str] | np.ndarray) -> pd.Series:
    """The mean value of each user, users in ascending order.

    Raises:
        ValueError: a value is not a finite number, or values and users differ in number.
    """
    array = np.asarray(values, dtype=float)
    if len(array) != len(users):
        raise ValueError(f"{len(array)} values for {len(users)} users")
    if not np.isfinite(array).all():
        at = int((~np.isfinite(array)).argmax())
        raise ValueError(f"the value of user {users[at]!r} is {array[at]}, not a finite number")
    return pd.Series(pd.Series(array).groupby(np.asarray(users).astype(str)).mean())


def interval(
    values: Values, *, statistic: Statistic = np.mean, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """A statistic of one value per user, with its percentile bootstrap interval (Efron 1979).

    A single user, or equal values, give an interval of width 0.

    Raises:
        ValueError: there is no value, or one is not a finite number.
    """
    array = np.asarray(values, dtype=float)
    if not len(array) or not np.isfinite(array).all():
        raise ValueError(f"an interval needs finite numbers, got {len(array)} of which {np.isfinite(array).sum()} are")
    value = float(statistic(array))
    # scipy refuses a single value.
    if len(array) == 1 or np.ptp(array) == 0:
        return Interval(value, value, value, len(array))
    result = stats.bootstrap(
        (array,),
        statistic,
        confidence_level=confidence,
        n_resamples=resamples,
        batch=BATCH,
        method="percentile",
        random_state=np.random.default_rng(seed),
        vectorized=True,
    )
    return Interval(value, float(result.confidence_interval.low), float(result.confidence_interval.high), len(array))


def paired_difference(a: pd.Series, b: pd.Series, *, statistic: Statistic = np.mean, **options: float) -> Interval:
    """The statistic of ``a - b`` per user, with its bootstrap interval; the indices of both are users.

    Args:
        a: one value per user.
        b: one value per user, for the same users in any order.
        statistic: see :func:`interval`.
        options: ``confidence``, ``resamples`` and ``seed`` of :func:`interval`.

    Raises:
        ValueError: the two are not about the same users.
    """
    if set(a.index) != set(b.index) or not a.index.is_unique or not b.index.is_unique:
        raise ValueError(
            f"a paired difference needs the same people once on both sides, got {len(a)} and {len(b)} rows"
        )
    return interval((a - b.reindex(a.index)).to_numpy(), statistic=statistic, **options)  # type: ignore[arg-type]


def smallest_visible_gain(differences: Values, *, confidence: float = 0.95, power: float = 0.8) -> float:
    """The smallest mean difference that a two-sided test of this many paired differences finds with this probability.

    (z_{1 - alpha / 2} + z_power) * s / sqrt(n), the normal approximation (Cohen 1988, sec. 2.4); s is their standard
    deviation, alpha is 1 - confidence.

    Raises:
        ValueError: there are fewer than two differences.
    """
    array = np.asarray(differences, dtype=float)
    if len(array) < 2:
        raise ValueError(f"the smallest visible gain needs at least two differences, got {len(array)}")
    quantiles = stats.norm.ppf(1 - (1 - confidence) / 2) + stats.norm.ppf(power)
    return float(quantiles * array.std(ddof=1) / np.sqrt(len(array)))
