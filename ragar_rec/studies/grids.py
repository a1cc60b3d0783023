"""Grids: the rows of the table of rankers, and what is tried for each of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

Point = dict[str, Any]
"""A value for each key of a grid."""
Grid = Mapping[str, Sequence[float]]
"""The values of each key; all combinations are tried."""

RATES = [0.005, 0.015]
GRIDS: Mapping[str, Grid] = {
    "Pop": {},
    "ItemKNN": {"k": [100, 20, 50, 200]},
    "EASE": {"reg_weight": [250.0, 60.0, 120.0, 500.0]},
    "BPR": {"learning_rate": RATES, "weight_decay": [0.0, 1e-5]},
    "LightGCN": {"learning_rate": RATES, "reg_weight": [1e-4, 1e-2]},
    "VBPR": {"learning_rate": RATES, "reg_weight": [1e-4, 1e-2]},
    "LATTICE": {"learning_rate": RATES, "reg_weight": [1e-5, 1e-3]},
    "BM3": {"learning_rate": RATES, "cl_weight": [2.0, 0.5]},
    "FREEDOM": {"learning_rate": RATES, "dropout": [0.8, 0.5]},
    "MICRO": {"learning_rate": RATES, "cl_weight": [0.03, 0.3]},
}
"""The grid of each ranker."""

WHOLE = "MICRO"
"""The ranker that the others are compared with."""
REDUCED: Mapping[str, Mapping[str, Any]] = {
    "MICRO without images": {"modalities": ["text"]},
    "MICRO without text": {"modalities": ["image"]},
    "MICRO without the contrastive loss": {"cl_weight": 0.0},
}
"""What is changed of MICRO; `modalities` are those whose features it keeps."""

ROWS = (*GRIDS, *REDUCED)
"""Names of all rows, in the order of the table."""


def points(grid: Grid) -> list[Point]:
    """All combinations, the last key's values changing first."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def at_the_ends(point: Point, tried: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for each value of the chosen point that is the least or the greatest tried.

    0 is no end, as nothing lies below it.

    Args:
        point: the chosen one.
        tried: all points, each under the key ``settings``.
    """
    axes = {key: [entry["settings"][key] for entry in tried] for key in point}
    ends = [key for key, values in axes.items() if point[key] and point[key] in (min(values), max(values))]
    return [f"{key} {point[key]} is an end of the grid" for key in ends]
