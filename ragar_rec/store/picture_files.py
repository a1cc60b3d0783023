"""Generated pictures as image files, `<user>/<item>.png`, with a table that says which file is whose."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from tqdm.auto import tqdm

from generation.pictures import to_pil
from ragar_rec.store.hashing import digest
from ragar_rec.store.shards import ImageShards, write_whole

PictureFormat = Literal["png", "jpeg", "webp"]
"""Formats of picture files, which are their suffixes too."""

TABLE = "files.csv"
SOURCE = "files.json"

Key = tuple[str, str, str]
"""User, item and the request's seed."""

BLOCK = 64
"""Pictures that are read at a time."""

LONGEST = 120
"""Characters of an id in a file's name, after which a hash stands for the rest: most file systems allow 255 bytes."""

# What Pillow is told: JPEG and WebP lose details by default that a judge's encoder might see.
_OPTIONS: Mapping[PictureFormat, Mapping[str, Any]] = {
    "png": {},
    "jpeg": {"quality": 95, "subsampling": 0},
    "webp": {"quality": 95},
}


def id_as_name(token: str) -> str:
    """A user's or an item's id as the name of a file or folder; `urllib.parse.unquote` reverses it.

    All but ASCII letters, digits, `_`, `-` and `~` is percent-encoded, the dot too: so neither `..` nor a suffix can
    be the name of a folder. Of an id that is too long a hash replaces the end. Where a file system does not tell `a`
    from `A`, nor do the names.
    """
    name = quote(token, safe="").replace(".", "%2E") or "%"
    return name if len(name) <= LONGEST else f"{name[:LONGEST]}%{digest(token)[:16]}"


def write_picture_files(
    shards: ImageShards, folder: Path, kind: PictureFormat, *, source: str, progress: bool = True
) -> Path:
    """Write all pictures of some shards as files below a folder, and `files.csv`.

    Files of the same source and format that are there already are kept, in the table too; those of another are
    removed first. After a stop, a second call writes what is missing. A second picture of the same user and item, of
    another seed, is `<item>+2`, and so on.

    Args:
        shards: hold the pictures.
        folder: receives `<user>/<item>.<kind>`.
        kind: the format.
        source: what identifies the generator.
        progress: show a bar.

    Returns:
        The table: user_id, item_id, seed (of the request) and file, relative to the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = _rows_of(folder, {"source": source, "format": kind})
    numbers = Counter((user, item) for user, item, _ in rows)
    keys: dict[str, Key] = {name: _key(name) for name in shards.ids}
    for key in keys.values():
        if key not in rows:
            numbers[key[:2]] += 1
            rows[key] = _file_name(*key[:2], numbers[key[:2]], kind)
    # The table first: whatever happens now, it lists every file that may have to be removed one day.
    _write_table(folder / TABLE, rows)
    missing = [name for name, key in keys.items() if not (folder / rows[key]).is_file()]
    for start in tqdm(range(0, len(missing), BLOCK), desc=f"{kind} files", unit=f"x{BLOCK}", disable=not progress):
        block = missing[start : start + BLOCK]
        for name, image in zip(block, shards.read(block), strict=True):
            data, file = io.BytesIO(), folder / rows[keys[name]]
            to_pil(image).save(data, format=kind, **_OPTIONS[kind])
            file.parent.mkdir(exist_ok=True)
            write_whole(file, data.getvalue())
    return folder / TABLE


def _key(name: str) -> Key:
    user, item, seed, _ = json.loads(name)
    return user, item, str(seed)


def _rows_of(folder: Path, source: dict[str, str]) -> dict[Key, str]:
    """The files of this source by (user, item, seed); those of any other are deleted."""
    table, note = folder / TABLE, folder / SOURCE
    rows: dict[Key, str] = {}
    if table.is_file():
        with table.open(newline="", encoding="utf-8") as file:
            rows = {(row["user_id"], row["item_id"], row["seed"]): row["file"] for row in csv.DictReader(file)}
    if note.is_file() and json.loads(note.read_text(encoding="utf-8")) != source:
        for name in rows.values():
            (folder / name).unlink(missing_ok=True)
        rows = {}
        table.unlink(missing_ok=True)
    write_whole(note, json.dumps(source).encode())
    return rows


def _file_name(user: str, item: str, number: int, kind: str) -> str:
    # `+` is percent-encoded in ids, so that no item has this name of its own.
    return f"{id_as_name(user)}/{id_as_name(item)}{f'+{number}' if number > 1 else ''}.{kind}"


def _write_table(path: Path, rows: dict[Key, str]) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("user_id", "item_id", "seed", "file"))
    table.writerows((*key, name) for key, name in sorted(rows.items()))
    write_whole(path, text.getvalue().encode())
