"""Feature tables: the vectors of one modality by item token, made by this library or precomputed elsewhere."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32
from safetensors.numpy import save_file

from recsys.catalog import Catalog
from recsys.feature_files import feature_files, read_table

logger = logging.getLogger(__name__)

MODALITIES = ("image", "text")
"""The modalities that the pipeline can make features of itself; others come as tables."""

Missing = Literal["hole", "error"]
"""How an item without features is treated."""


@dataclass(frozen=True)
class FeatureTable:
    """The features of one modality: row ``i`` of ``values`` belongs to item ``ids[i]``.

    Raises:
        ValueError: ids and rows differ in number, an id occurs twice, or a value is not a finite number.
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
        """Write a safetensors file with the ids in its header."""
        header = {"ids": json.dumps(self.ids, ensure_ascii=False)}
        save_file({"values": np.ascontiguousarray(self.values, np.float32)}, path, metadata=header)

    @classmethod
    def read(cls, path: Path | str) -> FeatureTable:
        """Read a table in one of three formats.

        * ``.safetensors`` as :meth:`write` writes it;
        * ``.npy``, a matrix with one row per item, with a file ``<stem>.ids.txt`` or ``<stem>.ids.csv`` in the same
          folder: the item tokens in the order of the rows, one per line, in the CSV optionally below the heading
          ``item_id``;
        * ``.npz`` with the arrays ``ids`` and ``values``.

        Values are converted to float32.

        Raises:
            FileNotFoundError: there is no such file, or no file of tokens beside it.
            ValueError: it is no feature table, or one that :class:`FeatureTable` refuses.
        """
        path = feature_files(path)[0]
        return cls.of(*read_table(path), path)

    @classmethod
    def of(cls, ids: tuple[str, ...], values: np.ndarray, path: Path) -> FeatureTable:
        """A table of an array read from ``path``, which error messages name; values are converted to float32.

        Raises:
            ValueError: the array is no matrix of numbers, or :class:`FeatureTable` refuses it.
        """
        if values.ndim != 2 or values.dtype.kind not in "fiub":
            raise ValueError(f"{path} holds no matrix of numbers but {values.dtype} of shape {values.shape}")
        try:
            with np.errstate(over="ignore"):  # Values too large for float32 become infinite and are refused as such.
                return cls(ids, values.astype(np.float32))
        except ValueError as error:
            raise ValueError(f"feature table {path}: {error}") from error

    def permuted(self, seed: int, *, among: Collection[str] | None = None) -> FeatureTable:
        """The rows in a random order among the items that have any: what features say of single items is lost.

        Args:
            seed: of the order.
            among: ids of the items whose rows are exchanged; by default all.
        """
        values = self.values.copy()
        rows = values.any(axis=1).nonzero()[0]  # a row of zeros is a hole and stays one
        if among is not None:
            chosen = set(among)
            rows = np.array([row for row in rows if self.ids[row] in chosen], dtype=np.int64)
        values[rows] = values[np.random.default_rng(seed).permutation(rows)]
        return FeatureTable(self.ids, values)

    def align(self, tokens: Sequence[str]) -> tuple[Float32[np.ndarray, "tokens width"], Bool[np.ndarray, " tokens"]]:
        """Features in the order of ``tokens``, and which tokens have any; absent rows and rows of zeros are holes."""
        row_of = {item: row for row, item in enumerate(self.ids)}
        rows = np.array([row_of.get(token, -1) for token in tokens], dtype=np.int64)
        values = np.zeros((len(tokens), self.values.shape[1]), np.float32)
        values[rows >= 0] = self.values[rows[rows >= 0]]
        return values, (values != 0).any(axis=1)


def in_order(modalities: Iterable[str]) -> list[str]:
    """Image and text first, then the others by alphabet: the order in which a ranker initialises their weights."""
    return sorted(modalities, key=lambda name: (MODALITIES.index(name) if name in MODALITIES else 2, name))


def modality_problem(name: str) -> str | None:
    """Why a text cannot name a modality, as the end of a sentence; None if it can."""
    # It becomes part of file names and of torch's names of buffers, and mean.safetensors is the images' mean.
    if not re.fullmatch(r"\w[\w-]*", name) or name == "mean":
        return "which must be a word of letters, digits, - and _, other than mean: give it another name"
    return None


def item_features(
    modality: str, path: Path | str, tokens: Sequence[str], missing: Missing = "hole"
) -> tuple[Float32[np.ndarray, "items width"], Bool[np.ndarray, " items"]]:
    """The features of one modality for a ranker: the table at ``path`` in the order of RecBole's item tokens.

    Rows of items that are not among the tokens are left out; a warning counts them and names the first five.

    Args:
        modality: its name, for error messages and warnings.
        path: a file that :meth:`FeatureTable.read` reads.
        tokens: tokens of all items, RecBole's padding token first.
        missing: whether an item without features is a hole or an error.

    Returns:
        The features, zeros for holes and for padding, and which items have features.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no item has features, or ``missing`` is ``error`` and an item has none (the message names them).
    """
    table = FeatureTable.read(path)
    values, present = table.align(tokens)
    if not present.any():
        raise ValueError(f"none of the {len(tokens) - 1} items has {modality} features in {path}")
    holes = [token for token, has in zip(tokens[1:], present[1:], strict=True) if not has]
    if missing == "error" and holes:
        raise ValueError(
            f"{len(holes)} of {len(tokens) - 1} items have no {modality} features in {path}: {_first_five(holes)}; "
            "add their rows, or let them be holes by missing_features: hole"
        )
    known = set(tokens)
    if unknown := [item for item in table.ids if item not in known]:
        logger.warning(
            "%d of the %d rows of %s features in %s belong to no item of the catalogue and are left out: %s",
            len(unknown),
            len(table.ids),
            modality,
            path,
            _first_five(unknown),
        )
    return values, present


def _first_five(items: Sequence[str]) -> str:
    return ", ".join(map(repr, items[:5])) + (", ..." if len(items) > 5 else "")


def text_features(catalog: Catalog, dim: int, *, seed: int) -> FeatureTable:
    """TF-IDF of the item texts, reduced to ``dim`` dimensions by a truncated SVD and L2-normalised.

    Items without text have no row, nor have items whose words are all stop words.

    Raises:
        ValueError: no item has any text.
    """
    # Imported late: sklearn takes a second, and every command imports this module.
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    items = [item for item in catalog if item.text]
    if not items:
        raise ValueError("no item of the catalogue has a title, tags or a description; text features need some")
    tfidf = TfidfVectorizer(sublinear_tf=True, stop_words="english").fit_transform(item.text for item in items)
    # A truncated SVD has fewer components than the smaller side of the matrix.
    width = max(1, min(dim, min(tfidf.shape) - 1))
    values = TruncatedSVD(width, random_state=seed).fit_transform(tfidf)
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    # A text of stop words only has zero TF-IDF, up to rounding in the SVD.
    nonzero = norms[:, 0] > 1e-12
    ids = tuple(item.id for item, keep in zip(items, nonzero, strict=True) if keep)
    return FeatureTable(ids, (values[nonzero] / norms[nonzero]).astype(np.float32))
