"""A synthetic data set of any size: clustered items, random interactions, two feature tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recsys.features import FeatureTable

TEXT_WIDTH = 128
"""Dimensions of the text features."""
PER_CLUSTER = 50
"""Items, on average, that share a centre of features."""


def synthetic(
    folder: Path, n_items: int, *, width: int, n_users: int | None = None, per_item: int = 10, seed: int = 0
) -> dict[str, Any]:
    """Write RecBole's files and two feature tables, unless they are there.

    Args:
        folder: RecBole's ``data_path``.
        n_items: items, named ``i0``, ``i1`` ...
        width: dimensions of the image features.
        n_users: users; half as many as items by default.
        per_item: interactions of each item, those of one user counted once.
        seed: of everything that is drawn.

    Returns:
        RecBole's keys that load it.
    """
    n_users = n_users or n_items // 2
    name = f"synthetic-{n_items}-{n_users}-{width}"
    home = folder / name
    tables = {modality: home / f"{modality}.safetensors" for modality in ("image", "text")}
    # The last file that is written: if it is there, all are.
    if not tables["text"].is_file():
        home.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(seed)
        # The order of draws fixes the data set: clusters, users, timestamps, then features.
        clusters = rng.integers(max(2, n_items // PER_CLUSTER), size=n_items)
        _write_interactions(home, name, n_items, n_users, per_item, rng)
        _write_features(tables, clusters, width, rng)
    return {
        "model": "MICRO",
        "dataset": name,
        "data_path": str(folder),
        "embedding_size": 64,
        "features": {modality: str(path) for modality, path in tables.items()},
        "load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id"]},
    }


def _write_interactions(
    home: Path, name: str, n_items: int, n_users: int, per_item: int, rng: np.random.Generator
) -> None:
    users, items = rng.integers(n_users, size=per_item * n_items), np.tile(np.arange(n_items), per_item)
    pairs = {"user_id:token": users, "item_id:token": np.char.add("i", items.astype(str))}
    frame = pd.DataFrame({**pairs, "timestamp:float": rng.permutation(len(users))})
    frame.drop_duplicates(["user_id:token", "item_id:token"]).to_csv(home / f"{name}.inter", sep="\t", index=False)
    pd.DataFrame({"item_id:token": _tokens(n_items)}).to_csv(home / f"{name}.item", sep="\t", index=False)


def _write_features(tables: dict[str, Path], clusters: np.ndarray, width: int, rng: np.random.Generator) -> None:
    """A cluster's centre plus noise as strong as the centres' own spread, for each modality."""
    n_items = len(clusters)
    for path, columns in zip(tables.values(), (width, TEXT_WIDTH), strict=True):
        centres = rng.normal(size=(clusters.max() + 1, columns)).astype(np.float32)
        values = centres[clusters] + rng.normal(size=(n_items, columns)).astype(np.float32)
        FeatureTable(tuple(_tokens(n_items)), values).write(path)


def _tokens(n_items: int) -> list[str]:
    return [f"i{item}" for item in range(n_items)]
