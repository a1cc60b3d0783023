"""Feature tables: one modality's vectors, keyed by item token, as safetensors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from recsys.catalog import Catalog


@dataclass(frozen=True)
class FeatureTable:
    """Row ``i`` of ``values`` belongs to item ``ids[i]``.

    Raises:
        ValueError: ids and rows differ in number, an id stands there twice, or a value is not a finite number.
    """

    ids: tuple[str, ...]
    values: Float32[np.ndarray, "items width"]

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.values):
            raise ValueError(f"{len(self.ids)} items but {len(self.values)} feature rows")
        if len(set(self.ids)) < len(self.ids):
            raise ValueError("an item stands in the feature table twice; ids must be unique")
        finite = np.isfinite(self.values).all(axis=1)
        if not finite.all():
            first = self.ids[int((~finite).argmax())]
            raise ValueError(
                f"features of item {first!r} are not finite numbers ({int((~finite).sum())} such items); "
                "leave these rows out: an item without a row counts as one without this modality"
            )

    def write(self, path: Path) -> None:
        """Write safetensors; the ids stand in its header."""
        header = {"ids": json.dumps(self.ids, ensure_ascii=False)}
        save_file({"values": np.ascontiguousarray(self.values, np.float32)}, path, metadata=header)

    @classmethod
    def read(cls, path: Path | str) -> FeatureTable:
        """Read what :meth:`write` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no feature table.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"no feature table at {path}")
        try:
            with safe_open(path, framework="numpy") as file:
                return cls(tuple(json.loads(file.metadata()["ids"])), file.get_tensor("values"))
        except (SafetensorError, TypeError, KeyError) as error:
            raise ValueError(f"{path} is no feature table (safetensors with ids in its header): {error}") from error

    def align(self, tokens: Sequence[str]) -> tuple[Float32[np.ndarray, "tokens width"], Bool[np.ndarray, " tokens"]]:
        """Rows in the order of ``tokens`` and which of them there are; absent ones, and rows of zeros, are holes."""
        rows = {item: row for row, item in enumerate(self.ids)}
        found = np.array([rows.get(token, -1) for token in tokens], dtype=np.int64)
        values = np.zeros((len(tokens), self.values.shape[1]), np.float32)
        values[found >= 0] = self.values[found[found >= 0]]
        return values, (values != 0).any(axis=1)


def text_features(catalog: Catalog, dim: int, *, seed: int) -> FeatureTable:
    """TF-IDF of the items' words, reduced by a truncated SVD, L2-normalised; items without words have no row.

    Raises:
        ValueError: no item has any words.
    """
    items = [item for item in catalog if item.text]
    if not items:
        raise ValueError("no item of the catalogue has a title, tags or a description; text features need some")
    table = TfidfVectorizer(sublinear_tf=True, stop_words="english").fit_transform(item.text for item in items)
    width = max(1, min(dim, min(table.shape) - 1))
    values = TruncatedSVD(width, random_state=seed).fit_transform(table)
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    known = norms[:, 0] > 1e-12
    ids = tuple(item.id for item, there in zip(items, known, strict=True) if there)
    return FeatureTable(ids, (values[known] / norms[known]).astype(np.float32))
