"""Statistics over people: means, medians and paired differences with bootstrap intervals.

The unit is the person: several values of one person (seeds, windows) are averaged before anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

Statistic = Callable[..., np.ndarray]
Values = Sequence[float] | Float[np.ndarray, " n"]
BATCH = 500


@dataclass(frozen=True)
class Interval:
    """A statistic and the ends of its bootstrap interval over ``n`` people."""

    value: float
    low: float
    high: float
    n: int


def per_person(values: Values, users: Sequence[str] | np.ndarray) -> pd.Series:
    """One value a person: the mean of hers, people in ascending order.

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
    """A statistic of one value a person, with its percentile bootstrap interval (Efron 1979).

    One person, or equal values, give an interval of no width.

    Raises:
        ValueError: there is no value, or one is not a finite number.
    """
    array = np.asarray(values, dtype=float)
    if not len(array) or not np.isfinite(array).all():
        raise ValueError(f"an interval needs finite numbers, got {len(array)} of which {np.isfinite(array).sum()} are")
    value = float(statistic(array))
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


def paired_difference(a: pd.Series, b: pd.Series, *, statistic: Statistic = np.mean, **how: float) -> Interval:
    """Of ``a - b``, person by person (the indices are people).

    Raises:
        ValueError: the two are not about the same people.
    """
    if set(a.index) != set(b.index) or not a.index.is_unique or not b.index.is_unique:
        raise ValueError(
            f"a paired difference needs the same people once on both sides, got {len(a)} and {len(b)} rows"
        )
    return interval((a - b.reindex(a.index)).to_numpy(), statistic=statistic, **how)  # type: ignore[arg-type]
