"""Reader of MovieLens-100k from the files inside RecBole's wheel, with rendered covers: the embedded default."""

from __future__ import annotations

from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from recsys.catalog import Catalog, Item, UnknownItems
from recsys.data import covers
from recsys.data.atomic import Summary, write_dataset

NAME = "ml-100k"


def source(data: Path | None = None) -> Path:
    """The folder of the raw files: ``data``, or by default the one inside RecBole's wheel.

    Raises:
        FileNotFoundError: RecBole is not installed, or the folder lacks a file.
    """
    if data is None:
        # Located without importing it: the import has side effects, which only `recsys.recbole` contains.
        spec = find_spec("recbole")
        locations = list(spec.submodule_search_locations or ()) if spec else []
        if not locations:
            raise FileNotFoundError("recbole is not installed; MovieLens-100k is inside its wheel")
        data = Path(locations[0]) / "dataset_example" / NAME
    for suffix in ("inter", "item"):
        if not (data / f"{NAME}.{suffix}").is_file():
            raise FileNotFoundError(
                f"no {NAME}.{suffix} in {data}; the folder must hold RecBole's {NAME} files (other data: "
                "--config own, or another preset or config of yours)"
            )
    return data


def fingerprint(data: Path | None = None) -> str:
    """Hash of everything that :func:`prepare` depends on: the raw files and the code that renders covers."""
    digest = sha256()
    folder = source(data)
    code = sorted(Path(str(covers.__file__)).parent.glob("*.py"))
    for file in (folder / f"{NAME}.inter", folder / f"{NAME}.item", *code):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def prepare(data: Path | None, folder: Path, name: str = NAME, *, unknown_items: UnknownItems = "error") -> Summary:
    """Write atomic files, catalogue and 1,682 covers to ``<folder>/<name>``; every rating counts as an interaction."""
    raw = source(data)
    pictures = folder / name / "images"
    pictures.mkdir(parents=True, exist_ok=True)
    items = []
    for row in _table(raw / f"{NAME}.item").itertuples(index=False):
        item_id, title, year, genres = (str(value) for value in row[:4])
        tags = tuple("Children" if tag == "Children's" else tag for tag in genres.split() if tag != "unknown")
        released = int(year) if year.isdigit() else None
        picture = pictures / f"{item_id}.png"
        covers.cover(item_id, title, tags, released).save(picture)
        items.append(Item(item_id, f"{title} ({released})" if released else title, tags, "", picture))
    ratings = raw / f"{NAME}.inter"
    return write_dataset(_table(ratings), Catalog(items), folder, name, source=ratings, unknown_items=unknown_items)


def _table(path: Path) -> pd.DataFrame:
    frame = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, encoding="utf-8")
    frame.columns = [column.partition(":")[0] for column in frame.columns]
    return frame
