"""Nearest neighbours: the door to faiss."""

from __future__ import annotations

import functools
import logging
import math
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from jaxtyping import Float, Int

from recsys.settings import check_whole

logger = logging.getLogger(__name__)

# How many more candidates than needed are fetched, so that equal similarities can be put in order of index.
_MARGIN = 8
# Rows whose neighbours are also searched exactly, to say how many of them an approximate index finds.
_SAMPLE = 500


@dataclass(frozen=True)
class Search:
    """How neighbours are searched.

    Attributes:
        exact_items: catalogues up to this size are searched exactly, larger ones through an inverted file (IVF).
        n_probe: cells of the inverted file that are looked through for the items of each.
        n_cells: cells in all, at most one an item; None is 4 sqrt(items). They hold items / n_cells items on average: a
            search reads n_cells + n_probe items / n_cells vectors, which is (4 + n_probe / 4) sqrt(items) by default.

    Raises:
        ValueError: one of them is no such number; named by its key, `knn_exact_items`, `knn_n_probe` or `knn_n_cells`.
    """

    exact_items: int = 50_000
    n_probe: int = 16
    n_cells: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("exact_items", 0), ("n_probe", 1), ("n_cells", 1)):
            if name != "n_cells" or self.n_cells is not None:
                check_whole({f"knn_{name}": getattr(self, name)}, f"knn_{name}", least=least)

    def cells(self, n_items: int) -> int:
        """Cells for so many items."""
        return min(n_items, self.n_cells or max(1, round(4 * math.sqrt(n_items))))


def nearest(vectors: Float[np.ndarray, "items dim"], k: int, search: Search = Search()) -> Int[np.ndarray, "items k"]:
    """Each row's own index, then the `k - 1` other rows with the largest inner product, largest first.

    A row always counts itself, even among more than `k` copies of it. Products that agree to six decimals are
    taken in order of index, as far as the `k + 8` candidates that faiss returns allow. Where faiss-gpu is installed
    the search runs on a GPU. How many of the exact neighbours an approximate search finds is measured on 500 rows and
    logged.

    Args:
        vectors: rows of unit length, so that the inner product is the cosine.
        k: neighbours per row, the row itself included.
        search: exact, or from which size on not.

    Raises:
        ValueError: `k` is not between 1 and the number of rows.
    """
    n_items = len(vectors)
    if not 1 <= k <= n_items:
        raise ValueError(f"{k} neighbours per item were asked for, but {n_items} items have features")
    contiguous = np.ascontiguousarray(vectors, dtype=np.float32)
    wanted = min(n_items, k + _MARGIN)
    if n_items <= search.exact_items:
        return _ordered(*_exact(contiguous, contiguous, wanted), np.arange(n_items), k)
    cells = search.cells(n_items)
    similarity, found = _inverted_file(contiguous, wanted, cells, search.n_probe)
    # Cells with fewer than k candidates leave gaps: these few rows are searched exactly.
    gaps = np.flatnonzero(found[:, k - 1] < 0)
    if len(gaps):
        similarity[gaps], found[gaps] = _exact(contiguous[gaps], contiguous, wanted)
    neighbours = _ordered(similarity, found, np.arange(n_items), k)
    logger.info(
        "%d items, %d cells, %d probed: %.1f %% of the nearest neighbours found (on %d rows)",
        n_items,
        cells,
        search.n_probe,
        100 * recall(contiguous, neighbours),
        min(_SAMPLE, n_items),
    )
    return neighbours


def recall(vectors: Float[np.ndarray, "items dim"], neighbours: Int[np.ndarray, "items k"]) -> float:
    """Share of the exact neighbours (the row itself aside) that were found, over 500 evenly spaced rows."""
    rows = np.linspace(0, len(vectors) - 1, min(_SAMPLE, len(vectors))).astype(np.int64)
    k = neighbours.shape[1]
    exact = _ordered(*_exact(vectors[rows], vectors, min(len(vectors), k + _MARGIN)), rows, k)
    both = [len(set(a) & set(b)) - 1 for a, b in zip(exact.tolist(), neighbours[rows].tolist(), strict=True)]
    return float(np.mean(both)) / (k - 1) if k > 1 else 1.0


def _exact(queries: np.ndarray, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    if _gpus():
        return faiss.knn_gpu(_gpu_memory(), queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
    return faiss.knn(queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)


@functools.cache
def _gpu_memory() -> Any:
    """What faiss-gpu works in: gigabytes of the GPU, which are taken once and not for every cell."""
    return faiss.StandardGpuResources()


def _inverted_file(vectors: np.ndarray, k: int, cells: int, n_probe: int) -> tuple[np.ndarray, np.ndarray]:
    """The `k` nearest rows of each row among those of the cells nearest to its own.

    All rows of a cell are searched together, by one matrix product. Faiss's own inverted file takes them one by one,
    which took three times as long at 400,000 rows.
    """
    n_items, dim = vectors.shape
    means = faiss.Kmeans(
        dim, cells, niter=6, spherical=True, min_points_per_centroid=1, max_points_per_centroid=64, gpu=bool(_gpus())
    )
    means.train(vectors)
    centres = np.asarray(means.centroids)
    _, near = _exact(centres, centres, min(cells, n_probe))
    cell = means.assign(vectors)[1]
    order = np.argsort(cell, kind="stable")
    members = np.split(order, np.searchsorted(cell[order], np.arange(1, cells)))
    similarity = np.full((n_items, k), -np.inf, np.float32)
    found = np.full((n_items, k), -1, np.int64)
    for rows, probed in zip(members, near, strict=True):
        if len(rows):
            candidates = np.concatenate([members[c] for c in probed])
            some = min(k, len(candidates))
            similarity[rows, :some], places = _exact(vectors[rows], vectors[candidates], some)
            found[rows, :some] = candidates[places]
    return similarity, found


def _gpus() -> int:
    """How many GPUs faiss-gpu sees; faiss-cpu sees none."""
    return getattr(faiss, "get_num_gpus", lambda: 0)()


def _ordered(similarity: np.ndarray, found: np.ndarray, own: np.ndarray, k: int) -> np.ndarray:
    """The first `k` candidates: the row itself, then by similarity, equal ones by index."""
    own = own[:, None]
    # Among many copies of a row the row itself may be missing: it then replaces the last candidate.
    absent = ~(found == own).any(axis=1)
    found[absent, -1] = own[absent, 0]
    # A gap has the least float as its similarity; no cosine lies below -1.
    order_value = np.where(found == own, np.inf, np.round(similarity.clip(min=-2), 6))
    order = np.lexsort((found, -order_value), axis=-1)[:, :k]
    return np.take_along_axis(found, order, axis=1)
