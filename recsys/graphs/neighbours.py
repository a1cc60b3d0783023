"""Nearest-neighbour search: the only module that imports faiss."""

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

# Candidates fetched beyond k, so that equal similarities at the border can be ordered by index.
_MARGIN = 8
# Rows whose neighbours are also searched exactly, to measure the recall of an approximate search.
_SAMPLE = 500


@dataclass(frozen=True)
class Search:
    """Settings of the neighbour search.

    Attributes:
        exact_items: catalogues up to this size are searched exactly, larger ones through an inverted file (IVF).
        n_probe: number of cells of the inverted file that are searched for each item.
        n_cells: number of cells, at most one per item; None means 4 sqrt(items). A cell holds items / n_cells items on
            average, so that a search reads n_cells + n_probe items / n_cells vectors, by default
            (4 + n_probe / 4) sqrt(items).

    Raises:
        ValueError: a value is impossible; the message names its key, `knn_exact_items`, `knn_n_probe` or `knn_n_cells`.
    """

    exact_items: int = 50_000
    n_probe: int = 16
    n_cells: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("exact_items", 0), ("n_probe", 1), ("n_cells", 1)):
            if name != "n_cells" or self.n_cells is not None:
                check_whole({f"knn_{name}": getattr(self, name)}, f"knn_{name}", least=least)

    def cells(self, n_items: int) -> int:
        """Number of cells for a catalogue of this size."""
        return min(n_items, self.n_cells or max(1, round(4 * math.sqrt(n_items))))


def nearest(vectors: Float[np.ndarray, "items dim"], k: int, search: Search = Search()) -> Int[np.ndarray, "items k"]:
    """Indices of the `k` nearest rows of each row: itself first, then others by descending inner product.

    A row always counts itself, even among more than `k` copies of it. Products that agree to six decimals are
    ordered by index, as far as the `k + 8` candidates that faiss returns allow. With faiss-gpu the search runs on a
    GPU. The recall of an approximate search is measured on 500 rows and logged.

    Args:
        vectors: rows of unit length, so that the inner product is the cosine.
        k: neighbours per row, including the row itself.
        search: whether to search exactly, depending on the number of rows.

    Raises:
        ValueError: `k` is not between 1 and the number of rows.
    """
    n_items = len(vectors)
    if not 1 <= k <= n_items:
        raise ValueError(f"{k} neighbours per item were asked for, but {n_items} items have features")
    contiguous = np.ascontiguousarray(vectors, dtype=np.float32)
    n_candidates = min(n_items, k + _MARGIN)
    if n_items <= search.exact_items:
        return _ordered(*_exact(contiguous, contiguous, n_candidates), np.arange(n_items), k)
    cells = search.cells(n_items)
    similarity, candidates = _inverted_file(contiguous, n_candidates, cells, search.n_probe)
    # The probed cells of a row may hold fewer than k rows: these few rows are searched exactly.
    incomplete = np.flatnonzero(candidates[:, k - 1] < 0)
    if len(incomplete):
        similarity[incomplete], candidates[incomplete] = _exact(contiguous[incomplete], contiguous, n_candidates)
    neighbours = _ordered(similarity, candidates, np.arange(n_items), k)
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
    """Share of the exact neighbours, the row itself excluded, that are in `neighbours`, over 500 evenly spaced rows."""
    rows = np.linspace(0, len(vectors) - 1, min(_SAMPLE, len(vectors))).astype(np.int64)
    k = neighbours.shape[1]
    exact = _ordered(*_exact(vectors[rows], vectors, min(len(vectors), k + _MARGIN)), rows, k)
    # Both lists hold the row itself.
    common = [len(set(a) & set(b)) - 1 for a, b in zip(exact.tolist(), neighbours[rows].tolist(), strict=True)]
    return float(np.mean(common)) / (k - 1) if k > 1 else 1.0


def _exact(queries: np.ndarray, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Inner products and indices of the `k` nearest vectors of each query, by brute force."""
    if _gpus():
        return faiss.knn_gpu(_gpu_memory(), queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
    return faiss.knn(queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)


@functools.cache
def _gpu_memory() -> Any:
    """Working memory of faiss-gpu: it takes gigabytes of the GPU, so it is allocated once and not for every cell."""
    return faiss.StandardGpuResources()


def _inverted_file(vectors: np.ndarray, k: int, cells: int, n_probe: int) -> tuple[np.ndarray, np.ndarray]:
    """Inner products and indices of the `k` nearest rows of each row in the `n_probe` cells nearest to its own.

    Gaps, where these cells hold fewer than `k` rows, have similarity -inf and index -1.

    All rows of a cell are searched together by one matrix product. Faiss's own inverted file searches them one by one,
    which took three times as long at 400,000 rows.
    """
    n_items, dim = vectors.shape
    # 6 iterations on at most 64 points per cell: the cells only need to be compact, and faiss would warn below 39.
    kmeans = faiss.Kmeans(
        dim, cells, niter=6, spherical=True, min_points_per_centroid=1, max_points_per_centroid=64, gpu=bool(_gpus())
    )
    kmeans.train(vectors)
    centroids = np.asarray(kmeans.centroids)
    _, probes = _exact(centroids, centroids, min(cells, n_probe))
    cell = kmeans.assign(vectors)[1]
    order = np.argsort(cell, kind="stable")
    members = np.split(order, np.searchsorted(cell[order], np.arange(1, cells)))
    similarity = np.full((n_items, k), -np.inf, np.float32)
    neighbours = np.full((n_items, k), -1, np.int64)
    for rows, probed in zip(members, probes, strict=True):
        if len(rows):
            candidates = np.concatenate([members[c] for c in probed])
            count = min(k, len(candidates))
            similarity[rows, :count], positions = _exact(vectors[rows], vectors[candidates], count)
            neighbours[rows, :count] = candidates[positions]
    return similarity, neighbours


def _gpus() -> int:
    """Number of GPUs that faiss-gpu sees; 0 with faiss-cpu, which lacks the function."""
    return getattr(faiss, "get_num_gpus", lambda: 0)()


def _ordered(similarity: np.ndarray, candidates: np.ndarray, own: np.ndarray, k: int) -> np.ndarray:
    """The first `k` candidates of each row: the row itself, then by similarity, ties by index."""
    own = own[:, None]
    # Among many copies of a row the row itself may be missing: it then replaces the last candidate.
    absent = ~(candidates == own).any(axis=1)
    candidates[absent, -1] = own[absent, 0]
    # Clipped, because a gap has similarity -inf or the least float, on which np.round overflows; cosines are >= -1.
    sort_key = np.where(candidates == own, np.inf, np.round(similarity.clip(min=-2), 6))
    order = np.lexsort((candidates, -sort_key), axis=-1)[:, :k]
    return np.take_along_axis(candidates, order, axis=1)
