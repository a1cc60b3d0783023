"""Statistics over users: means, medians and paired differences with bootstrap confidence intervals.

The unit of resampling is the user: several values of one user (seeds, windows) are averaged first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

Statistic = Callable[..., np.ndarray]
"""A function of an array and `axis`, such as `np.mean`."""

Values = Sequence[float] | Float[np.ndarray, " n"] | Float[np.ndarray, "n seeds"]

BATCH = 500
"""Bootstrap resamples computed at a time; all at once would take resamples x users numbers of memory."""


@dataclass(frozen=True)
class Interval:
    """A statistic and the ends of its bootstrap confidence interval over ``n`` users."""

    value: float
    low: float
    high: float
    n: int
    error: float = 0.0
    """Standard error, by the bootstrap over users and the spread between training seeds."""
    freedom: float | None = None
    """Degrees of freedom of the error; None for the normal approximation."""

    @property
    def p(self) -> float:
        """Two-sided p-value of "it is 0", by a t or a normal with this error; 1 for an exact 0 or a single user."""
        if self.value == 0 or self.n < 2:
            return 1.0
        law = stats.norm() if self.freedom is None else stats.t(self.freedom)
        return 0.0 if self.error == 0 else float(2 * law.sf(abs(self.value) / self.error))


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

    A single user, or equal values, give an interval of width 0. Of values with a column for each training seed the
    statistic is that of the users' means, and the interval adds the variance between seeds: few seeds make it wide.

    Raises:
        ValueError: there is no value, or one is not a finite number.
    """
    array = _finite(values)
    if array.ndim == 2:
        return _crossed_interval(array, statistic, confidence, resamples, seed)
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
    low, high = result.confidence_interval
    return Interval(value, float(low), float(high), len(array), float(result.standard_error))


def _finite(values: Values) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    if not len(array) or not np.isfinite(array).all():
        raise ValueError(f"an interval needs finite numbers, got {array.size} of which {np.isfinite(array).sum()} are")
    return array


def _crossed_interval(
    array: Float[np.ndarray, "users seeds"], statistic: Statistic, confidence: float, resamples: int, seed: int
) -> Interval:
    """The interval over users and training seeds: variances added, a t with Satterthwaite's degrees of freedom (1946).

    A bootstrap over three seeds knows only their range, and of their variance two thirds.
    """
    n, seeds = array.shape
    people = interval(array.mean(1), statistic=statistic, confidence=confidence, resamples=resamples, seed=seed)
    between = float(np.var(statistic(array, axis=0), ddof=1)) / seeds
    error = math.sqrt(people.error**2 + between)
    if error == 0:
        return people
    freedom = error**4 / (people.error**4 / max(n - 1, 1) + between**2 / (seeds - 1))
    reach = float(stats.t.ppf((1 + confidence) / 2, freedom)) * error
    return Interval(people.value, people.value - reach, people.value + reach, n, error, freedom)


def paired_difference(
    a: pd.Series | pd.DataFrame, b: pd.Series | pd.DataFrame, *, statistic: Statistic = np.mean, **options: float
) -> Interval:
    """The statistic of ``a - b`` per user, with its bootstrap interval; the indices of both are users.

    Args:
        a: one value per user, or a column of such values for each training seed.
        b: the like for the same users in any order.
        statistic: see :func:`interval`.
        options: ``confidence``, ``resamples`` and ``seed`` of :func:`interval`.

    Raises:
        ValueError: the two are not about the same users.
    """
    return interval(paired(a, b).to_numpy(), statistic=statistic, **options)  # type: ignore[arg-type]


def paired(a: pd.Series | pd.DataFrame, b: pd.Series | pd.DataFrame) -> pd.Series | pd.DataFrame:
    """``a - b`` per user, in the order of ``a``.

    Raises:
        ValueError: the two are not about the same users.
    """
    if set(a.index) != set(b.index) or not a.index.is_unique or not b.index.is_unique:
        raise ValueError(
            f"a paired difference needs the same people once on both sides, got {len(a)} and {len(b)} rows"
        )
    return a - b.reindex(a.index)


def smallest_visible_gain(differences: Values, *, confidence: float = 0.95, power: float = 0.8) -> float:
    """The smallest mean difference that a two-sided test of this many paired differences finds with this probability.

    Raises:
        ValueError: there are fewer than two differences.
    """
    array = np.asarray(differences, dtype=float)
    if len(array) < 2:
        raise ValueError(f"the smallest visible gain needs at least two differences, got {len(array)}")
    return visible_gain(array.std(ddof=1) / np.sqrt(len(array)), confidence=confidence, power=power)


def visible_gain(error: float, *, confidence: float = 0.95, power: float = 0.8) -> float:
    """The smallest gain that a two-sided test finds with this probability, by the standard error of an estimate.

    (z_{1 - alpha / 2} + z_power) * error, the normal approximation (Cohen 1988, sec. 2.4); alpha is 1 - confidence.
    """
    return float((stats.norm.ppf(1 - (1 - confidence) / 2) + stats.norm.ppf(power)) * error)


def holm(p_values: Sequence[float], alpha: float = 0.05) -> list[bool]:
    """Which of several hypotheses are rejected if the probability of any false rejection is to be at most ``alpha``.

    Holm (1979): p-values in ascending order are compared with alpha / (m - i), up to the first that is above.
    """
    rejected = [False] * len(p_values)
    for at, index in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[index] > alpha / (len(p_values) - at):
            break
        rejected[index] = True
    return rejected
