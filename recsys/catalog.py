"""The catalogue: items with their texts and images, either of which may be missing."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal
from unicodedata import category

from PIL import Image

from recsys.tables import read_table

COLUMNS = ("item_id", "title", "tags", "description", "image")

UnknownItems = Literal["error", "drop"]
"""What becomes of interactions with items that the catalogue does not have."""

RESERVED = frozenset({"[PAD]", "[UNK]", "[MASK]"})
"""No ids: RecBole calls the padding of row 0 so; the others stand in exports where an id is unknown, and would become
one item."""

_URL = re.compile(r"[a-z][a-z0-9+.-]+:(//|[^\\/].*;base64,)", re.IGNORECASE)


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

    Attributes:
        image_problems: why an item has no image although the catalogue's file names one, by id.

    Raises:
        ValueError: an id is empty, reserved or occurs twice.
    """

    def __init__(self, items: Iterable[Item], image_problems: Mapping[str, str] | None = None) -> None:
        self._items = tuple(items)
        self.image_problems = MappingProxyType(dict(image_problems or {}))
        self._rows = {item.id: row for row, item in enumerate(self._items)}
        if len(self._rows) < len(self._items):
            duplicate = next(item.id for row, item in enumerate(self._items) if self._rows[item.id] != row)
            raise ValueError(f"item {duplicate!r} stands in the catalogue twice; ids must be unique")
        if "" in self._rows:
            raise ValueError(f"row {self._rows['']} of the catalogue has no item_id")
        for item in self._items:
            if problem := id_problem(item.id):
                raise ValueError(f"the catalogue has the item {item.id!r}, {problem}")

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
        items = (replace(item, image=None) if item.id in drop else item for item in self._items)
        return Catalog(items, self.image_problems)

    @classmethod
    def read(cls, path: Path, required: Sequence[str] = ("item_id",)) -> Catalog:
        """Read ``catalog.csv``: item_id, title, tags (separated by |), description, image.

        The path of an image is absolute or relative to the folder of the file, with slashes or backslashes; an item
        whose image cannot be found has none, and :attr:`image_problems` says why. Blanks around ids, tags and paths do
        not count, and each tag counts once.

        Args:
            path: the file.
            required: columns that must be there.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file cannot be read (:func:`recsys.tables.read_table`), lacks a column, or has an id that is
                empty, reserved or not unique.
        """
        if not path.is_file():
            raise FileNotFoundError(f"no catalogue at {path}; it is a CSV file with the columns {', '.join(COLUMNS)}")
        advice = {"image": "add image, with empty cells for items without a picture"}
        table = read_table(path, required, optional=COLUMNS, advice=advice)
        items, problems, first_line = [], {}, {}
        for line, row in zip(table.index.tolist(), table.to_dict("records"), strict=True):
            item = row["item_id"].strip()
            if not item:
                raise ValueError(f"{path}, line {line} has no item_id: every item needs one")
            if item in first_line:
                raise ValueError(f"{path}, lines {first_line[item]} and {line} have the item {item!r}: ids are unique")
            if problem := id_problem(item):
                raise ValueError(f"{path}, line {line} has the item_id {item!r}, {problem}")
            first_line[item] = line
            image, problem = find_image(row.get("image", ""), path.parent)
            if problem:
                problems[item] = problem
            items.append(Item(item, row.get("title", ""), tags(row.get("tags", "")), row.get("description", ""), image))
        return cls(items, problems)

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


def id_problem(item: str) -> str | None:
    """Why a text cannot be the id of a user or an item, as the end of a sentence; None if it can."""
    if item in RESERVED:
        return "which is reserved: give it another id"
    if any(category(letter) == "Cc" for letter in item):
        return "which holds a control character, such as a line break or a tab: give it another id"
    return None


def tags(text: str) -> tuple[str, ...]:
    """Tags out of ``a|b|c``: without blanks around them, each once, in their order."""
    return tuple(dict.fromkeys(tag for part in text.split("|") if (tag := part.strip())))


def find_image(text: str, folder: Path) -> tuple[Path | None, str | None]:
    """The image file that a cell of the catalogue names, or why there is none; (None, None) for an empty cell.

    Args:
        text: an absolute path or one relative to ``folder``; backslashes are read as slashes if no file has them in
            its name.
        folder: where the catalogue stands.
    """
    text = text.strip()
    if not text:
        return None, None
    if _URL.match(text):
        return None, f"{_short(text)} is a URL: download the image and name its file"
    path = folder / text
    slashes = folder / text.replace("\\", "/")
    try:
        for candidate in (path, slashes):
            if candidate.is_file():
                return candidate, None
        if slashes.is_dir():
            return None, f"{_short(text)} is a folder: name a file in it"
    except (OSError, ValueError):  # longer than a path may be, or with a NUL byte
        return None, f"{_short(text)} is no path"
    backslashes = "" if path == slashes else f"{_short(text)} has backslashes, and "
    return None, f"{backslashes}there is no file {_short(str(slashes))}"


def _short(text: str) -> str:
    return text if len(text) <= 100 else text[:97] + "..."


def _relative(picture: Path, folder: Path) -> str:
    """Path of an image relative to the folder if it is below it, so that the folder can be moved; else absolute."""
    picture, folder = picture.absolute(), folder.absolute()  # not resolve(): symbolic links are kept
    return picture.relative_to(folder).as_posix() if picture.is_relative_to(folder) else str(picture)
