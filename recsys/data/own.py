"""Reader of a user's own files: ``interactions.csv`` and ``catalog.csv`` in one folder."""

from __future__ import annotations

from pathlib import Path

from recsys.catalog import Catalog
from recsys.data.atomic import Summary, data_folder, hash_tables, read_csv, write_dataset

NAME = "own"
FILES = ("interactions.csv", "catalog.csv")


def fingerprint(data: Path | None) -> str:
    """Hash of the folder's path, its two tables and the ids of the items without an image.

    Raises:
        FileNotFoundError: no folder was given, or it lacks a table.
    """
    folder = data_folder(data, FILES)
    return hash_tables(folder, FILES, Catalog.read(folder / "catalog.csv").without_image)


def prepare(data: Path | None, folder: Path, name: str = NAME) -> Summary:
    """Write atomic files and catalogue to ``<folder>/<name>``; images are not copied.

    ``interactions.csv`` has the columns user_id, item_id, timestamp and optionally rating; every row counts as an
    interaction.
    """
    raw = data_folder(data, FILES)
    interactions = read_csv(raw / "interactions.csv", ["user_id", "item_id", "timestamp"], optional=["rating"])
    if "rating" not in interactions:
        interactions = interactions.assign(rating=1.0)
    return write_dataset(interactions, Catalog.read(raw / "catalog.csv"), folder, name)
