"""The catalogue: items with their words and pictures. Holes are allowed, and named."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

COLUMNS = ("item_id", "title", "tags", "description", "image")


@dataclass(frozen=True)
class Item:
    """One item.

    Attributes:
        id: RecBole's item token.
        tags: genres, categories, themes.
        image: the picture's file; None is a hole.
    """

    id: str
    title: str = ""
    tags: tuple[str, ...] = ()
    description: str = ""
    image: Path | None = None

    @property
    def text(self) -> str:
        """Title, tags and description as one text; "" if there is none of them."""
        return ". ".join(part for part in (self.title, ", ".join(self.tags), self.description) if part)


class Catalog:
    """Items in a fixed order, found by id; it never changes.

    Raises:
        ValueError: an id is empty or stands there twice.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = tuple(items)
        self._rows = {item.id: row for row, item in enumerate(self._items)}
        if len(self._rows) < len(self._items):
            twice = next(item.id for row, item in enumerate(self._items) if self._rows[item.id] != row)
            raise ValueError(f"item {twice!r} stands in the catalogue twice; ids must be unique")
        if "" in self._rows:
            raise ValueError(f"row {self._rows['']} of the catalogue has no item_id")

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._rows

    def __getitem__(self, item_id: str) -> Item:
        if item_id not in self._rows:
            raise KeyError(f"item {item_id!r} is not in the catalogue of {len(self)} items")
        return self._items[self._rows[item_id]]

    @property
    def ids(self) -> list[str]:
        """All ids, in order."""
        return [item.id for item in self._items]

    @property
    def without_image(self) -> list[str]:
        """Ids of items that have no picture."""
        return [item.id for item in self._items if item.image is None]

    @property
    def without_text(self) -> list[str]:
        """Ids of items that have no words."""
        return [item.id for item in self._items if not item.text]

    def without_images_of(self, ids: Sequence[str]) -> Catalog:
        """The same catalogue with holes for the pictures of these items."""
        drop = set(ids)
        return Catalog(replace(item, image=None) if item.id in drop else item for item in self._items)

    @classmethod
    def read(cls, path: Path) -> Catalog:
        """Read ``catalog.csv``: item_id, title, tags (separated by |), description, image.

        A picture's path is absolute or relative to the file's folder; a path where nothing is, is a hole.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the column item_id is missing, or the ids are not unique.
        """
        if not path.is_file():
            raise FileNotFoundError(f"no catalogue at {path}; it is a CSV file with the columns {', '.join(COLUMNS)}")
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            found = rows.fieldnames or []
            if "item_id" not in found:
                raise ValueError(f"{path} has no column item_id; its columns are {', '.join(found) or 'none'}")
            return cls(_item(row, path.parent) for row in rows)

    def write(self, path: Path) -> None:
        """Write what :meth:`read` reads; pictures below the file's folder by relative paths."""
        temporary = path.with_name(path.name + ".tmp")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(COLUMNS)
            for item in self._items:
                picture = "" if item.image is None else _relative(item.image, path.parent)
                rows.writerow((item.id, item.title, "|".join(item.tags), item.description, picture))
        temporary.replace(path)


def undecodable(catalog: Catalog) -> list[str]:
    """Ids of items whose picture's file does not decode (damaged, no picture at all, or an image bomb)."""
    broken = []
    for item in catalog:
        if item.image is None:
            continue
        try:
            with Image.open(item.image) as picture:
                if picture.width * picture.height > (Image.MAX_IMAGE_PIXELS or 2**31):
                    raise ValueError("too many pixels")
                picture.load()
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            broken.append(item.id)
    return broken


def _item(row: dict[str, str], folder: Path) -> Item:
    picture = folder / row["image"] if row.get("image") else None
    return Item(
        id=(row["item_id"] or "").strip(),
        title=row.get("title") or "",
        tags=tuple(tag for tag in (row.get("tags") or "").split("|") if tag),
        description=row.get("description") or "",
        image=picture if picture is not None and picture.is_file() else None,
    )


def _relative(picture: Path, folder: Path) -> str:
    """Below the folder: relative, so that it can be moved; elsewhere: absolute."""
    picture, folder = picture.absolute(), folder.absolute()  # a link stays a link: it is not resolved
    return picture.relative_to(folder).as_posix() if picture.is_relative_to(folder) else str(picture)
