"""What stands in a store: its entries with size and age, and their removal."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from ragar_rec.store.store import MANIFEST, locked, read_manifest

PARTIAL = ".partial"


@dataclass(frozen=True)
class StoredEntry:
    """One folder of a store.

    Attributes:
        folder: where it stands.
        stage: the name of the stage that it is the result of.
        key: the first digits of its key.
        size: bytes of all its files.
        created: when it was finished, or last written to if it is unfinished; in UTC.
        finished: whether it is complete; an unfinished one is continued, or begun again, by the next run.
    """

    folder: Path
    stage: str
    key: str
    size: int
    created: datetime
    finished: bool


def stored_entries(root: Path) -> list[StoredEntry]:
    """The entries of a store, the oldest first."""
    folders = [folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith(".")]
    return sorted(map(_entry, folders), key=lambda entry: (entry.created, entry.folder.name))


def remove(entry: StoredEntry) -> None:
    """Delete an entry's folder.

    Raises:
        RuntimeError: another process is building it.
    """
    if entry.finished:
        shutil.rmtree(entry.folder)
        return
    with locked(entry.folder):
        shutil.rmtree(entry.folder)
    entry.folder.with_name(f".{entry.folder.name}.seconds").unlink(missing_ok=True)


def size_text(size: int) -> str:
    """Bytes in the largest unit of which there is one at least: `12.3 MB`, with 1 MB = 10^6 bytes."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} B"


def _entry(folder: Path) -> StoredEntry:
    stage, _, key = folder.name.removesuffix(PARTIAL).rpartition("-")
    files = [file.stat() for file in folder.rglob("*") if file.is_file()]
    finished = (folder / MANIFEST).is_file() and not folder.name.endswith(PARTIAL)
    if finished:
        created = datetime.fromisoformat(read_manifest(folder)["created"])
    else:
        written = max([folder.stat().st_mtime, *(file.st_mtime for file in files)])
        created = datetime.fromtimestamp(written, timezone.utc)
    return StoredEntry(folder, stage, key, sum(file.st_size for file in files), created, finished)


def remove_unused(entries: Iterable[StoredEntry], used: Collection[Path], *, dry_run: bool) -> Iterator[str]:
    """Remove the entries that nobody uses, unless they are only to be named; a line for each of them."""
    for entry in entries:
        if entry.folder in used:
            continue
        try:
            if not dry_run:
                remove(entry)
        except RuntimeError as error:
            yield f"kept {entry.folder.name}: {error}"
        else:
            yield f"{'would remove' if dry_run else 'removed'} {entry.folder.name}: {size_text(entry.size)}"
