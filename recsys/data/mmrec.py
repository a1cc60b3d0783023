"""Reader of MMRec's format: one tab-separated ``.inter`` file with a split in ``x_label``, and ``<modality>_feat.npy``.

There are as many feature files as modalities, often ``image_feat.npy`` and ``text_feat.npy``, and at least one. Users
and items are numbered from 0, and row i of a feature file belongs to item i; the numbers become the tokens.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd

from recsys.catalog import Catalog, Item, UnknownItems
from recsys.data.atomic import LABEL, Summary, data_folder, read_csv, write_dataset
from recsys.feature_files import read_array
from recsys.features import FeatureTable, in_order, modality_problem
from recsys.recbole.splits import by_label

NAME = "mmrec"
SUFFIX = "_feat.npy"
NEEDED = f"one .inter file and features such as image{SUFFIX}"
COLUMNS = {"userID": "user_id", "itemID": "item_id", "x_label": LABEL}


def fingerprint(data: Path | None) -> str:
    """Hash of the interactions and of the feature files with their names.

    Raises:
        FileNotFoundError: no folder was given, or it lacks interactions or features.
        ValueError: a feature file has no usable modality in its name.
    """
    folder = data_folder(data, (), NEEDED)
    digest = sha256(_interactions_file(folder).read_bytes())
    for modality, file in _feature_files(folder).items():
        digest.update(f"\0{modality}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def prepare(data: Path | None, folder: Path, name: str = NAME, *, unknown_items: UnknownItems = "error") -> Summary:
    """Write atomic files, catalogue and ``<modality>.safetensors`` for each feature file to ``<folder>/<name>``.

    The split is kept in the column ``x_label``, and no user is dropped for having few interactions; configure it by
    ``eval_args: {split: {LABEL: x_label}}``. Without a column ``rating`` every rating is 1; without ``timestamp`` the
    lines are in chronological order.

    Raises:
        FileNotFoundError: no folder was given, or it lacks interactions or features.
        ValueError: a column is missing, a label is not 0, 1 or 2, the feature files differ in their number of rows, an
            item has no row, or a feature is not a finite number.
    """
    source = data_folder(data, (), NEEDED)
    file, files = _interactions_file(source), _feature_files(source)
    arrays = {modality: read_array(path) for modality, path in files.items()}
    first = next(iter(arrays))
    for modality, array in arrays.items():
        if len(array) != len(arrays[first]):
            raise ValueError(
                f"{files[first]} has {len(arrays[first])} rows, {files[modality]} has {len(array)}: every item has one"
            )
    ids = tuple(map(str, range(len(arrays[first]))))
    tables = {modality: FeatureTable.of(ids, array, files[modality]) for modality, array in arrays.items()}
    interactions = _read_interactions(file)
    catalog = Catalog(map(Item, ids))
    summary = write_dataset(interactions, catalog, folder, name, source=file, unknown_items=unknown_items)
    for modality, table in tables.items():
        table.write(folder / name / f"{modality}.safetensors")
    return summary


def _read_interactions(file: Path) -> pd.DataFrame:
    """Read the interactions under this library's column names, with checked labels."""
    frame = read_csv(file, list(COLUMNS), optional=["rating", "timestamp"], separator="\t").rename(columns=COLUMNS)
    try:
        by_label(np.asarray(pd.to_numeric(frame[LABEL], errors="coerce"), dtype=float))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    if "rating" not in frame:
        frame = frame.assign(rating=1.0)
    return frame if "timestamp" in frame else frame.assign(timestamp=np.arange(len(frame)))


def _interactions_file(folder: Path) -> Path:
    files = sorted(folder.glob("*.inter"))
    if len(files) != 1:
        raise FileNotFoundError(f"{folder} must hold one .inter file, it holds {len(files)}")
    return files[0]


def _feature_files(folder: Path) -> dict[str, Path]:
    """The feature files by modality."""
    files = {path.name.removesuffix(SUFFIX): path for path in folder.glob(f"*{SUFFIX}")}
    if not files:
        raise FileNotFoundError(
            f"no *{SUFFIX} in {folder}; the folder must hold the features of at least one modality, such as "
            f"image{SUFFIX} or text{SUFFIX}"
        )
    for modality, path in files.items():
        if problem := modality_problem(modality):
            raise ValueError(f"{path} is named after the modality {modality!r}, {problem}")
    return {modality: files[modality] for modality in in_order(files)}
