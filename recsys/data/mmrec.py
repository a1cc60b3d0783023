"""Reader of MMRec's format: one ``.inter`` file with a split in ``x_label``, ``image_feat.npy`` and ``text_feat.npy``.

Users and items are numbered from 0, and row i of a feature file belongs to item i; the numbers become the tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd

from recsys.catalog import Catalog, Item
from recsys.data.atomic import LABEL, Summary, data_folder, read_csv, write_dataset
from recsys.feature_files import read_array
from recsys.features import FeatureTable
from recsys.recbole.splits import by_label

NAME = "mmrec"
FEATURES = {"image": "image_feat.npy", "text": "text_feat.npy"}
COLUMNS = {"userID": "user_id", "itemID": "item_id", "x_label": LABEL}


def fingerprint(data: Path | None) -> str:
    """Hash of the interactions and feature files.

    Raises:
        FileNotFoundError: no folder was given, or it lacks interactions or features.
    """
    folder = data_folder(data, tuple(FEATURES.values()))
    digest = sha256()
    for file in (_interactions_file(folder), *(folder / name for name in FEATURES.values())):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def prepare(data: Path | None, folder: Path, name: str = NAME) -> Summary:
    """Write atomic files, catalogue, ``image.safetensors`` and ``text.safetensors`` to ``<folder>/<name>``.

    The split is kept in the column ``x_label``, and no user is dropped for having few interactions; configure it by
    ``eval_args: {split: {LABEL: x_label}}``. Without a column ``rating`` every rating is 1; without ``timestamp`` the
    lines are in chronological order.

    Raises:
        FileNotFoundError: no folder was given, or it lacks interactions or features.
        ValueError: a column is missing, a label is not 0, 1 or 2, the feature files differ in their number of rows, an
            item has no row, or a feature is not a finite number.
    """
    source = data_folder(data, tuple(FEATURES.values()))
    files = {modality: source / name for modality, name in FEATURES.items()}
    arrays = {modality: read_array(file) for modality, file in files.items()}
    counts = [len(array) for array in arrays.values()]
    if counts[0] != counts[1]:
        raise ValueError(f"{files['image']} has {counts[0]} rows, {files['text']} has {counts[1]}: every item has one")
    ids = tuple(map(str, range(counts[0])))
    tables = {modality: FeatureTable.of(ids, array, files[modality]) for modality, array in arrays.items()}
    interactions = _read_interactions(_interactions_file(source), ids)
    summary = write_dataset(interactions, Catalog(map(Item, ids)), folder, name)
    for modality, table in tables.items():
        table.write(folder / name / f"{modality}.safetensors")
    return summary


def _read_interactions(file: Path, ids: Sequence[str]) -> pd.DataFrame:
    """Read the interactions under this library's column names, with checked items and labels."""
    frame = read_csv(file, list(COLUMNS), optional=["rating", "timestamp"], separator="\t").rename(columns=COLUMNS)
    known = set(ids)
    unknown = [item for item in frame["item_id"].unique() if item not in known]
    if unknown:
        raise ValueError(f"{file} names item {unknown[0]!r}, but the features have rows 0 to {len(ids) - 1}")
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
