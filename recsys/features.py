"""Feature tables: one modality's vectors, keyed by item token, ours or precomputed elsewhere."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32
from safetensors.numpy import save_file
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from recsys.catalog import Catalog
from recsys.feature_files import _READERS, _read_safetensors, feature_files

logger = logging.getLogger(__name__)


Missing = Literal["hole", "error"]
"""What an item without features is."""


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
        """Read a table in one of three forms.

        * ``.safetensors`` as :meth:`write` writes it;
        * ``.npy``, a matrix with a row an item, beside ``<stem>.ids.txt`` or ``<stem>.ids.csv``: the items' tokens in
          the order of the rows, one a line, in the CSV optionally below the heading ``item_id``;
        * ``.npz`` with the arrays ``ids`` and ``values``.

        Numbers become float32.

        Raises:
            FileNotFoundError: there is no such file, or no file of tokens beside it.
            ValueError: it is no feature table, or one that :class:`FeatureTable` refuses.
        """
        path = feature_files(path)[0]
        return cls.of(*_READERS.get(path.suffix, _read_safetensors)(path), path)

    @classmethod
    def of(cls, ids: tuple[str, ...], values: np.ndarray, path: Path) -> FeatureTable:
        """A table of what was read from ``path``: any numbers, which become float32.

        Raises:
            ValueError: these are no matrix of numbers, or :class:`FeatureTable` refuses them.
        """
        if values.ndim != 2 or values.dtype.kind not in "fiub":
            raise ValueError(f"{path} holds no matrix of numbers but {values.dtype} of shape {values.shape}")
        try:
            with np.errstate(over="ignore"):  # What float32 cannot hold becomes infinite, and is refused as such.
                return cls(ids, values.astype(np.float32))
        except ValueError as error:
            raise ValueError(f"feature table {path}: {error}") from error

    def align(self, tokens: Sequence[str]) -> tuple[Float32[np.ndarray, "tokens width"], Bool[np.ndarray, " tokens"]]:
        """Rows in the order of ``tokens`` and which of them there are; absent ones, and rows of zeros, are holes."""
        rows = {item: row for row, item in enumerate(self.ids)}
        found = np.array([rows.get(token, -1) for token in tokens], dtype=np.int64)
        values = np.zeros((len(tokens), self.values.shape[1]), np.float32)
        values[found >= 0] = self.values[found[found >= 0]]
        return values, (values != 0).any(axis=1)


def item_features(
    modality: str, path: Path | str, tokens: Sequence[str], missing: Missing = "hole"
) -> tuple[Float32[np.ndarray, "items width"], Bool[np.ndarray, " items"]]:
    """A ranker's rows of one modality: the table at ``path`` in the order of RecBole's item tokens.

    Rows of items that are not among the tokens are left out; a warning counts them and names the first.

    Args:
        modality: its name, for the sentences below.
        path: what :meth:`FeatureTable.read` takes.
        tokens: all items, RecBole's padding first.
        missing: whether an item without features is a hole, or an error.

    Returns:
        The rows, zeros for holes and for padding, and which items have features.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no item has features, or ``missing`` is ``error`` and one has none; the sentence names the first.
    """
    table = FeatureTable.read(path)
    values, there = table.align(tokens)
    if not there.any():
        raise ValueError(f"none of the {len(tokens) - 1} items has {modality} features in {path}")
    holes = [token for token, has in zip(tokens[1:], there[1:], strict=True) if not has]
    if missing == "error" and holes:
        raise ValueError(
            f"{len(holes)} of {len(tokens) - 1} items have no {modality} features in {path}: {_some(holes)}; add their "
            "rows, or let them be holes by missing_features: hole"
        )
    known = set(tokens)
    if strangers := [item for item in table.ids if item not in known]:
        logger.warning(
            "%d of the %d rows of %s features in %s belong to no item of the catalogue and are left out: %s",
            len(strangers),
            len(table.ids),
            modality,
            path,
            _some(strangers),
        )
    return values, there


def _some(items: Sequence[str]) -> str:
    """The first five, in quotes."""
    return ", ".join(map(repr, items[:5])) + (", ..." if len(items) > 5 else "")


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
