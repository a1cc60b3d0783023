"""Reader of MovieLens latest(-small): ``ratings.csv``, ``movies.csv`` and optionally ``overviews.csv`` and posters.

The poster of a film is ``posters/<movieId>.jpg``.
"""

from __future__ import annotations

from pathlib import Path

from recsys.catalog import Catalog, Item, UnknownItems
from recsys.data.atomic import Summary, data_folder, hash_tables, read_csv, write_dataset

NAME = "ml-latest"
TABLES = ("ratings.csv", "movies.csv")


def fingerprint(data: Path | None) -> str:
    """Hash of the folder's path, its tables and the names of its posters.

    Raises:
        FileNotFoundError: no folder was given, or it lacks a table.
    """
    folder = data_folder(data, TABLES)
    posters = sorted(path.name for path in (folder / "posters").glob("*.jpg"))
    return hash_tables(folder, (*TABLES, "overviews.csv"), posters)


def prepare(data: Path | None, folder: Path, name: str = NAME, *, unknown_items: UnknownItems = "error") -> Summary:
    """Write atomic files and catalogue to ``<folder>/<name>``; every rating counts as an interaction.

    Posters are not copied: the catalogue refers to them.
    """
    raw = data_folder(data, TABLES)
    ratings = read_csv(raw / "ratings.csv", ["userId", "movieId", "rating", "timestamp"])
    movies = read_csv(raw / "movies.csv", ["movieId", "title", "genres"])
    plots: dict[str, str] = {}
    if (raw / "overviews.csv").is_file():
        table = read_csv(raw / "overviews.csv", ["movieId", "overview"])
        plots = dict(zip(table["movieId"].str.strip(), table["overview"], strict=True))
    items = []
    for cell, title, genres in movies.itertuples(index=False):
        movie = cell.strip()  # ids as `write_dataset` reads those of the ratings
        poster = raw / "posters" / f"{movie}.jpg"
        # "(no genres listed)" is no genre.
        tags = tuple(tag for tag in genres.split("|") if tag and not tag.startswith("("))
        items.append(Item(movie, title, tags, plots.get(movie, ""), poster if poster.is_file() else None))
    interactions = ratings.rename(columns={"userId": "user_id", "movieId": "item_id"})
    source = raw / "ratings.csv"
    return write_dataset(interactions, Catalog(items), folder, name, source=source, unknown_items=unknown_items)
