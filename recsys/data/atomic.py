"""Atomic files: what RecBole reads, written whole, beside the catalogue."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd

from recsys.catalog import Catalog

LEAST = 3
"""Fewer interactions than this cannot be split into training, validation and test."""

LABEL = "x_label"
"""The column of a given split: 0 training, 1 validation, 2 test."""


@dataclass(frozen=True)
class Summary:
    """What preparing a data set found and did."""

    users: int
    items: int
    interactions: int
    duplicates_dropped: int
    users_dropped: int
    items_without_image: int
    items_without_text: int


def data_folder(data: Path | None, files: Sequence[str]) -> Path:
    """The folder that the user named, checked.

    Raises:
        FileNotFoundError: none was named, it is missing or empty, or it lacks one of the files.
    """
    needed = " and ".join(files)
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
    """Hash of where a folder is (catalogues name pictures by absolute paths), of its tables (absent is empty) and of
    which pictures there are; their pixels are hashed by whoever reads them.
    """
    digest = sha256(str(folder.absolute()).encode())
    for file in (folder / name for name in names):
        digest.update(file.read_bytes() if file.is_file() else b"")
    digest.update("\n".join(pictures).encode())
    return digest.hexdigest()


def read_csv(path: Path, columns: Sequence[str], *, optional: Sequence[str] = (), separator: str = ",") -> pd.DataFrame:
    """Some columns of a CSV file, as text; of the optional ones those that there are.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a column is missing, or the file cannot be read; the sentence names what was found.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no {path.name} in {path.parent}; the folder must hold the raw data set")
    try:
        frame = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as CSV: {error}") from error
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise ValueError(f"{path} has no column {', '.join(missing)}; its columns are {', '.join(frame.columns)}")
    return frame.loc[:, [*columns, *(column for column in optional if column in frame.columns)]]


def write_dataset(interactions: pd.DataFrame, catalog: Catalog, folder: Path, name: str, *, seed: int = 0) -> Summary:
    """``<folder>/<name>/<name>.inter``, ``.item``, ``catalog.csv`` and ``summary.json``.

    Of several interactions of one person with one item the latest stays. People with fewer than three are left out,
    unless the split is given by a column ``x_label``, which is then kept.
    A person's equal timestamps are put in a seeded random order, which the column ``position`` (0 is her first) holds:
    it is the time field for a split in time.

    Args:
        interactions: columns user_id, item_id, rating, timestamp and, where the split is given, x_label.
        catalog: all items, also those that nobody touched.
        folder: where ``<name>`` is made.
        name: of the data set.
        seed: of the order of equal timestamps.

    Raises:
        ValueError: an interaction names an item that the catalogue has not, a number is none, or nobody is left.
    """
    frame = interactions.copy()
    given = [LABEL] if LABEL in frame else []
    for column in ("rating", "timestamp", *given):
        numbers = np.asarray(pd.to_numeric(frame[column], errors="coerce"), dtype=float)
        if not np.isfinite(numbers).all():
            at = int((~np.isfinite(numbers)).argmax())
            raise ValueError(f"interaction {at + 1} has {column} {frame[column].iloc[at]!r}, which is no number")
        frame[column] = numbers
    unknown = [item for item in frame["item_id"].unique() if item not in catalog]
    if unknown:
        raise ValueError(
            f"{len(unknown)} items have interactions but are not in the catalogue, {unknown[0]!r} among them"
        )
    frame["draw"] = np.random.default_rng(seed).permutation(len(frame))
    frame = frame.sort_values(["user_id", "timestamp", "draw"], kind="stable")
    before = len(frame)
    frame = frame.drop_duplicates(["user_id", "item_id"], keep="last")
    duplicates = before - len(frame)
    counts = frame["user_id"].value_counts()
    few = [user for user, count in counts.items() if count < LEAST and not given]
    frame = frame.loc[~frame["user_id"].isin(few)].copy()
    if frame.empty:
        raise ValueError(f"nobody is left: all {len(few)} people have fewer than {LEAST} interactions")
    frame["position"] = frame.groupby("user_id").cumcount().astype(float)
    target = folder / name
    target.mkdir(parents=True, exist_ok=True)
    fields = dict.fromkeys(("user_id", "item_id"), "token")
    fields |= dict.fromkeys(("rating", "timestamp", "position", *given), "float")
    header = [f"{field}:{kind}" for field, kind in fields.items()]
    frame.to_csv(target / f"{name}.inter", sep="\t", index=False, columns=list(fields), header=header)
    pd.DataFrame({"item_id:token": catalog.ids}).to_csv(target / f"{name}.item", sep="\t", index=False)
    catalog.write(target / "catalog.csv")
    summary = Summary(
        users=int(frame["user_id"].nunique()),
        items=len(catalog),
        interactions=len(frame),
        duplicates_dropped=duplicates,
        users_dropped=len(few),
        items_without_image=len(catalog.without_image),
        items_without_text=len(catalog.without_text),
    )
    (target / "summary.json").write_text(json.dumps(asdict(summary), indent=1))
    return summary
