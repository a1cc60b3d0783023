"""Exact nearest neighbours: the door to faiss."""

from __future__ import annotations

import faiss
import numpy as np
from jaxtyping import Float, Int

# How many more candidates than needed are fetched, so that equal similarities can be put in order of index.
_MARGIN = 8


def nearest(vectors: Float[np.ndarray, "items dim"], k: int) -> Int[np.ndarray, "items k"]:
    """Each row's own index, then the `k - 1` other rows with the largest inner product, largest first.

    A row always counts itself, even among more than `k` copies of it. Products that agree to six decimals are
    taken in order of index, as far as the `k + 8` candidates that faiss returns allow.

    Args:
        vectors: rows of unit length, so that the inner product is the cosine.
        k: neighbours per row, the row itself included.

    Raises:
        ValueError: `k` is not between 1 and the number of rows.
    """
    n_items = len(vectors)
    if not 1 <= k <= n_items:
        raise ValueError(f"{k} neighbours per item were asked for, but {n_items} items have features")
    index = faiss.IndexFlatIP(vectors.shape[1])
    contiguous = np.ascontiguousarray(vectors, dtype=np.float32)
    index.add(contiguous)
    similarity, found = index.search(contiguous, min(n_items, k + _MARGIN))

    own = np.arange(n_items)[:, None]
    # Among many copies of a row the row itself may be missing: it then replaces the last candidate.
    absent = ~(found == own).any(axis=1)
    found[absent, -1] = own[absent, 0]
    order_value = np.where(found == own, np.inf, np.round(similarity, 6))
    order = np.lexsort((found, -order_value), axis=-1)[:, :k]
    return np.take_along_axis(found, order, axis=1)
