"""The true gain of showing a system's pictures: what people will click is known, and so is how good a list is."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int


def expected_ndcg(
    lists: Int[np.ndarray, "people k"], inclusion: Float[np.ndarray, "people items"], n: int
) -> Float[np.ndarray, " people"]:
    """Expected NDCG@k of each person's list over their next n clicks.

    NDCG is linear in which items are clicked: the sum over ranks r of P(item at r is clicked) / log2(r + 1), divided by
    the largest sum that n clicks can give. On a log that was drawn from the same model, the mean of the test's NDCG@k
    estimates it without bias.

    Args:
        lists: items in the order in which they are shown.
        inclusion: probability that an item is among the next n clicks.
        n: clicks.
    """
    discount = 1 / np.log2(np.arange(lists.shape[1]) + 2)
    return np.take_along_axis(inclusion, lists, axis=1) @ discount / discount[:n].sum()
