"""Planted effects: with what probability would this run have found a gain of a known size?

The users' own lists stay, before and after they got new pictures; only which of a list's items are the held-out ones is
drawn anew. A share of the held-out items stands where the new order puts them, the others where the original one does,
both with the observed frequencies of positions. If both shares are equal there is no gain; the share decides its size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy import stats

BATCH = 50
"""Repetitions that are held at a time."""


@dataclass(frozen=True)
class RerankedLists:
    """Lists of many users before and after, all of one length.

    Attributes:
        before: rank of each item from 1, in any order of the items.
        after: rank of the same items with new pictures.
        hits: how many held-out items are in each user's list.
        held_out: how many held-out items each user has.
        positions: how often a held-out item stood at each rank before, over all users.
    """

    before: Int[np.ndarray, "users c"]
    after: Int[np.ndarray, "users c"]
    hits: Int[np.ndarray, " users"]
    held_out: Int[np.ndarray, " users"]
    positions: Int[np.ndarray, " c"]

    def gains(
        self, share: float, k: int, repetitions: int, rng: np.random.Generator
    ) -> tuple[Float[np.ndarray, "repetitions users"], Float[np.ndarray, "repetitions users"]]:
        """NDCG@k before, and its gain, of resampled users, if this share of held-out items follows the new order."""
        # Half an observation more, so that a rank at which nobody chose is not impossible.
        frequency = self.positions + 0.5
        weights = share * frequency[self.after - 1] + (1 - share) * frequency[self.before - 1]
        ideal = np.cumsum(_discount(np.arange(1, k + 1), k))[np.minimum(self.held_out, k) - 1]
        values: list[tuple[np.ndarray, np.ndarray]] = []
        for start in range(0, repetitions, BATCH):
            # Resampled before they choose: whoever is drawn twice chooses twice.
            users = rng.integers(len(weights), size=(min(BATCH, repetitions - start), len(weights)))
            # The largest of log weights plus Gumbel noise are a draw without replacement (Yellott 1977).
            keys = np.log(weights)[users] + rng.gumbel(size=(*users.shape, weights.shape[1]))
            drawn = np.argsort(-keys, axis=-1).argsort(axis=-1) < self.hits[users][..., None]
            before, after = (
                (drawn * _discount(ranks[users], k)).sum(-1) / ideal[users] for ranks in (self.before, self.after)
            )
            values.append((before, after - before))
        before, gain = (np.concatenate(part) for part in zip(*values, strict=True))
        return before, gain


def _discount(ranks: np.ndarray, k: int) -> np.ndarray:
    return np.where(ranks <= k, 1 / np.log2(ranks + 1), 0.0)


def power_table(
    lists: RerankedLists, sizes: Sequence[float], *, k: int, repetitions: int = 500, alpha: float = 0.05, seed: int = 0
) -> pd.DataFrame:
    """How often a planted gain is found, for each size.

    In each repetition users are resampled and held-out items drawn; a gain is found if its mean is above 0 and the
    two-sided normal test of the paired differences rejects 0, as for the primary endpoint.

    Args:
        lists: of the users.
        sizes: of the gain, as shares of NDCG@k with the original pictures.
        k: of NDCG@k.
        repetitions: for each size.
        alpha: of the test.
        seed: of all draws.

    Returns:
        Columns ``size``, ``gain`` (its mean over the repetitions) and ``found`` (a share; nan where not even a list
        that always follows the new order has such a gain).

    Raises:
        ValueError: no list holds a held-out item, or new pictures change no order.
    """
    if not lists.hits.any():
        raise ValueError("no held-out item is in anybody's list, so that no effect can be planted: raise candidates")
    if (lists.before == lists.after).all():
        raise ValueError("the new pictures change nobody's order, so that no effect can be planted")
    rng = np.random.default_rng(seed)
    # The gain is linear in the share: its two ends say which share has a gain of a given size.
    nothing, everything = (lists.gains(share, k, repetitions, rng) for share in (0.0, 1.0))
    low, high = nothing[1].mean(), everything[1].mean()
    base = (nothing[0].mean() + everything[0].mean()) / 2
    rows = []
    for size in sizes:
        share = (size * base - low) / (high - low)
        if not 0 <= share <= 1:
            rows.append((size, np.nan, np.nan))
            continue
        _, gain = lists.gains(share, k, repetitions, rng)
        error = gain.std(axis=1, ddof=1) / np.sqrt(gain.shape[1])
        z = np.divide(gain.mean(1), error, out=np.zeros(len(error)), where=error > 0)
        rows.append((size, gain.mean(), (z > stats.norm.ppf(1 - alpha / 2)).mean()))
    return pd.DataFrame(rows, columns=pd.Index(["size", "gain", "found"]))


def size_found(table: pd.DataFrame, power: float = 0.8) -> float | None:
    """The size that is found with this probability, between two rows of :func:`power_table`; None if none is."""
    known = table.dropna()
    found = (known["found"] >= power).to_numpy()
    if not found.any():
        return None
    at = int(found.argmax())
    if at == 0:
        return float(known["size"].iloc[0])
    pair = known.iloc[at - 1 : at + 1]
    return float(np.interp(power, pair["found"], pair["size"]))
