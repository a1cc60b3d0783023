"""Reader of a user's own files: ``interactions.csv`` and ``catalog.csv`` in one folder."""

from __future__ import annotations

from pathlib import Path

from recsys.catalog import Catalog, UnknownItems
from recsys.data.atomic import Summary, data_folder, hash_tables, read_csv, write_dataset

NAME = "own"
FILES = ("interactions.csv", "catalog.csv")


def fingerprint(data: Path | None) -> str:
    """Hash of the folder's path, its two tables, and which images cannot be found.

    Raises:
        FileNotFoundError: no folder was given, or it lacks a table.
        ValueError: the catalogue cannot be read.
    """
    folder = data_folder(data, FILES)
    catalog = _catalog(folder)
    problems = [f"{item}\t{problem}" for item, problem in catalog.image_problems.items()]
    return hash_tables(folder, FILES, [*catalog.without_image, *problems])


def prepare(data: Path | None, folder: Path, name: str = NAME, *, unknown_items: UnknownItems = "error") -> Summary:
    """Write atomic files and catalogue to ``<folder>/<name>``; images are not copied.

    ``interactions.csv`` has the columns user_id, item_id, timestamp and optionally rating; every row counts as an
    interaction.
    """
    raw = data_folder(data, FILES)
    file = raw / "interactions.csv"
    interactions = read_csv(file, ["user_id", "item_id", "timestamp"], optional=["rating"])
    if "rating" not in interactions:
        interactions = interactions.assign(rating=1.0)
    return write_dataset(interactions, _catalog(raw), folder, name, source=file, unknown_items=unknown_items)


def _catalog(folder: Path) -> Catalog:
    """The catalogue. A column of images must be there, if with empty cells: one of another name would go unnoticed."""
    return Catalog.read(folder / "catalog.csv", required=("item_id", "image"))
