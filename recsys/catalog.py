"""The catalogue: items with their texts and images, either of which may be missing."""

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
        image: the image file; None if the item has no image.
    """

    id: str
    title: str = ""
    tags: tuple[str, ...] = ()
    description: str = ""
    image: Path | None = None

    @property
    def text(self) -> str:
        """Title, tags and description as one text; "" if the item has none of them."""
        return ". ".join(part for part in (self.title, ", ".join(self.tags), self.description) if part)


class Catalog:
    """Immutable sequence of items in a fixed order, with access by id.

    Raises:
        ValueError: an id is empty or occurs twice.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = tuple(items)
        self._rows = {item.id: row for row, item in enumerate(self._items)}
        if len(self._rows) < len(self._items):
            duplicate = next(item.id for row, item in enumerate(self._items) if self._rows[item.id] != row)
            raise ValueError(f"item {duplicate!r} stands in the catalogue twice; ids must be unique")
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
        """Ids of the items without an image."""
        return [item.id for item in self._items if item.image is None]

    @property
    def without_text(self) -> list[str]:
        """Ids of the items without any text."""
        return [item.id for item in self._items if not item.text]

    def without_images_of(self, ids: Sequence[str]) -> Catalog:
        """A copy of the catalogue in which these items have no image."""
        drop = set(ids)
        return Catalog(replace(item, image=None) if item.id in drop else item for item in self._items)

    @classmethod
    def read(cls, path: Path) -> Catalog:
        """Read ``catalog.csv``: item_id, title, tags (separated by |), description, image.

        The path of an image is absolute or relative to the folder of the file; an item whose image file does not exist
        has no image.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the column item_id is missing, or the ids are not unique.
        """
        if not path.is_file():
            raise FileNotFoundError(f"no catalogue at {path}; it is a CSV file with the columns {', '.join(COLUMNS)}")
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            columns = rows.fieldnames or []
            if "item_id" not in columns:
                raise ValueError(f"{path} has no column item_id; its columns are {', '.join(columns) or 'none'}")
            return cls(_item(row, path.parent) for row in rows)

    def write(self, path: Path) -> None:
        """Write the format that :meth:`read` reads, atomically; images below the file's folder by relative paths."""
        temporary = path.with_name(path.name + ".tmp")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(COLUMNS)
            for item in self._items:
                picture = "" if item.image is None else _relative(item.image, path.parent)
                rows.writerow((item.id, item.title, "|".join(item.tags), item.description, picture))
        temporary.replace(path)


def undecodable(catalog: Catalog) -> list[str]:
    """Ids of the items whose image file cannot be decoded: damaged, no image at all, or a decompression bomb."""
    broken = []
    for item in catalog:
        if item.image is None:
            continue
        try:
            with Image.open(item.image) as picture:
                # Pillow itself only warns up to twice the limit.
                if picture.width * picture.height > (Image.MAX_IMAGE_PIXELS or 2**31):
                    raise ValueError("too many pixels")
                picture.load()
        # Pillow's decoders raise SyntaxError for a broken header.
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
    """Path of an image relative to the folder if it is below it, so that the folder can be moved; else absolute."""
    picture, folder = picture.absolute(), folder.absolute()  # not resolve(): symbolic links are kept
    return picture.relative_to(folder).as_posix() if picture.is_relative_to(folder) else str(picture)
