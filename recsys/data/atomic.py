"""Writing of RecBole's atomic files and the catalogue, and helpers for readers of raw data sets."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd

from recsys.catalog import Catalog, UnknownItems, id_problem
from recsys.tables import LINE, read_table

logger = logging.getLogger(__name__)

MIN_INTERACTIONS = 3
"""Minimum number of interactions per user: fewer cannot be split into training, validation and test."""

LABEL = "x_label"
"""The column that holds a predefined split: 0 training, 1 validation, 2 test."""


@dataclass(frozen=True)
class Summary:
    """Counts of a prepared data set and of what was dropped from it."""

    users: int
    items: int
    interactions: int
    duplicates_dropped: int
    users_dropped: int
    items_without_image: int
    items_without_text: int
    interactions_with_unknown_items_dropped: int = 0


def data_folder(data: Path | None, files: Sequence[str], needed: str = "") -> Path:
    """The user's data folder, checked for these files.

    Args:
        data: the folder; None if the user named none.
        files: names of files that must be there.
        needed: what the folder must hold, in words; by default the files' names.

    Raises:
        FileNotFoundError: no folder is given, it is missing or empty, or it lacks one of the files.
    """
    needed = needed or " and ".join(files)
    if data is None:
        raise FileNotFoundError(f"this data set is not embedded: name the folder with {needed} by --data")
    if not data.is_dir():
        raise FileNotFoundError(f"no data folder at {data}; name the folder with {needed} by --data")
    if not any(data.iterdir()):
        raise FileNotFoundError(f"the data folder {data} is empty; it must hold {needed}")
    missing = [name for name in files if not (data / name).is_file()]
    if missing:
        raise FileNotFoundError(f"no {' and no '.join(missing)} in {data}; the folder must hold {needed}")
    return data


def hash_tables(folder: Path, names: Sequence[str], pictures: Iterable[str]) -> str:
    """Hash of a raw data folder: its absolute path, the contents of its tables, and the names of its images.

    The path counts because catalogues refer to images by absolute paths; a missing table counts as empty. Pixels are
    hashed by the stages that read them.
    """
    digest = sha256(str(folder.absolute()).encode())
    for file in (folder / name for name in names):
        digest.update(file.read_bytes() if file.is_file() else b"")
    digest.update("\n".join(pictures).encode())
    return digest.hexdigest()


def read_csv(path: Path, columns: Sequence[str], *, optional: Sequence[str] = (), separator: str = ",") -> pd.DataFrame:
    """Read columns of a CSV file as text, indexed by line; optional columns may be missing.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read; see :func:`recsys.tables.read_table`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no {path.name} in {path.parent}; the folder must hold the raw data set")
    return read_table(path, columns, optional=optional, separator=separator)


def write_dataset(
    interactions: pd.DataFrame,
    catalog: Catalog,
    folder: Path,
    name: str,
    *,
    seed: int = 0,
    source: Path | None = None,
    unknown_items: UnknownItems = "error",
) -> Summary:
    """Write ``<name>.inter``, ``<name>.item``, ``catalog.csv`` and ``summary.json`` to ``<folder>/<name>``.

    ``image_problems.json`` beside them says why images that the raw catalogue names cannot be found.

    Ids are text, without the blanks around them. Of several interactions of a user with the same item the latest is
    kept. Users with fewer than three interactions are dropped, unless a column ``x_label`` holds a predefined split;
    this column is kept. A user's interactions with equal timestamps are put in a seeded random order. The column
    ``position`` (0 is the user's first interaction) holds the order; it is the time field of a chronological split.

    Args:
        interactions: columns user_id, item_id, rating, timestamp and, for a predefined split, x_label.
        catalog: all items, including those without interactions.
        folder: parent of the new folder.
        name: name of the data set.
        seed: seed of the order of equal timestamps.
        source: the file of the interactions, which error messages name; its lines are the index of ``interactions``.
        unknown_items: whether interactions with items that the catalogue does not have are an error, or are dropped,
            counted, and named in a warning.

    Raises:
        ValueError: an id is missing or reserved, an item is not in the catalogue, a value is not a number, or no user
            is left.
    """
    split_columns = [LABEL] if LABEL in interactions else []
    frame = _with_ids(interactions, source)
    frame = _numeric(frame, ["rating", "timestamp", *split_columns], source)
    known = frame["item_id"].isin(catalog.ids).to_numpy()
    unknown = int((~known).sum())
    if unknown:
        _report_unknown(frame, ~known, len(catalog), source, unknown_items)
        frame = frame.loc[known].copy()
    frame["draw"] = np.random.default_rng(seed).permutation(len(frame))
    frame = frame.sort_values(["user_id", "timestamp", "draw"], kind="stable")
    before = len(frame)
    frame = frame.drop_duplicates(["user_id", "item_id"], keep="last")
    duplicates = before - len(frame)
    # After the duplicates: only distinct items count towards the minimum.
    counts = frame["user_id"].value_counts()
    inactive = [user for user, count in counts.items() if count < MIN_INTERACTIONS and not split_columns]
    frame = frame.loc[~frame["user_id"].isin(inactive)].copy()
    if frame.empty:
        raise ValueError(f"nobody is left: all {len(inactive)} people have fewer than {MIN_INTERACTIONS} interactions")
    frame["position"] = frame.groupby("user_id").cumcount().astype(float)
    target = folder / name
    target.mkdir(parents=True, exist_ok=True)
    _write_atomic(frame, target / f"{name}.inter", split_columns)
    pd.DataFrame({"item_id:token": catalog.ids}).to_csv(target / f"{name}.item", sep="\t", index=False)
    catalog.write(target / "catalog.csv")
    summary = Summary(
        users=int(frame["user_id"].nunique()),
        items=len(catalog),
        interactions=len(frame),
        duplicates_dropped=duplicates,
        users_dropped=len(inactive),
        items_without_image=len(catalog.without_image),
        items_without_text=len(catalog.without_text),
        interactions_with_unknown_items_dropped=unknown,
    )
    (target / "summary.json").write_text(json.dumps(asdict(summary), indent=1))
    problems = json.dumps(dict(catalog.image_problems), indent=1, ensure_ascii=False)
    (target / "image_problems.json").write_text(problems, encoding="utf-8")
    return summary


def _place(frame: pd.DataFrame, row: int, source: Path | None) -> str:
    """Where an interaction stands, in words: ``<file>, line 7``, or ``interaction 6`` of a table without lines."""
    where = f"line {frame.index[row]}" if frame.index.name == LINE else f"interaction {row + 1}"
    return where if source is None else f"{source}, {where}"


def _with_ids(interactions: pd.DataFrame, source: Path | None) -> pd.DataFrame:
    """A copy whose ids are text without blanks around them.

    Raises:
        ValueError: a user or an item has no id or one that cannot be used; the message names its line.
    """
    frame = interactions.copy()
    for column in ("user_id", "item_id"):
        ids = frame[column].where(frame[column].notna(), "").astype(str).str.strip()
        frame[column] = ids
        # Distinct ids only: there may be millions of rows.
        for token in ids.unique():
            problem = id_problem(token)
            if token and not problem:
                continue
            place = _place(frame, int((ids == token).to_numpy().argmax()), source)
            if not token:
                raise ValueError(f"{place} has no {column}: every interaction needs one")
            raise ValueError(f"{place} has the {column} {token!r}, {problem}")
    return frame


def _report_unknown(
    frame: pd.DataFrame, unknown: np.ndarray, n_items: int, source: Path | None, unknown_items: UnknownItems
) -> None:
    """Refuse interactions with unknown items or, where they are dropped, warn of them."""
    rows = np.flatnonzero(unknown)
    names = [f"{frame['item_id'].iloc[row]!r} ({_place(frame, int(row), None)})" for row in rows[:5]]
    sentence = (
        f"{len(rows)} of {len(frame)} interactions{'' if source is None else f' in {source}'} have an item that is not "
        f"in the catalogue of {n_items} items: {', '.join(names)}{', ...' if len(rows) > 5 else ''}"
    )
    if unknown_items == "error":
        raise ValueError(f"{sentence}; add these items, or drop the interactions by catalog.unknown_items: drop")
    logger.warning("%s; they are dropped", sentence)


def _numeric(interactions: pd.DataFrame, columns: Sequence[str], source: Path | None) -> pd.DataFrame:
    """A copy with these columns as numbers.

    Raises:
        ValueError: a value is not a finite number; the message names its row.
    """
    frame = interactions.copy()
    for column in columns:
        numbers = np.asarray(pd.to_numeric(frame[column], errors="coerce"), dtype=float)
        if not np.isfinite(numbers).all():
            at = int((~np.isfinite(numbers)).argmax())
            place = _place(frame, at, source)
            raise ValueError(f"{place} has {column} {frame[column].iloc[at]!r}, which is no number")
        frame[column] = numbers
    return frame


def _write_atomic(frame: pd.DataFrame, file: Path, split_columns: Sequence[str]) -> None:
    """Write an ``.inter`` file: tab-separated, with the type of each field in the header."""
    types = dict.fromkeys(("user_id", "item_id"), "token")
    types |= dict.fromkeys(("rating", "timestamp", "position", *split_columns), "float")
    header = [f"{field}:{kind}" for field, kind in types.items()]
    frame.to_csv(file, sep="\t", index=False, columns=list(types), header=header)
