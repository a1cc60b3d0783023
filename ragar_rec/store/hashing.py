"""Content hashes of plain data and of files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

BLOCK = 1 << 20
"""Bytes of a file that are read at a time."""


def digest(value: Any) -> str:
    """SHA-256 of plain data as canonical JSON; the order of a mapping's keys does not matter, that of a list does.

    Raises:
        TypeError: the value holds something that JSON cannot represent, or a number that is not finite.
    """
    return hashlib.sha256(_canonical(value).encode()).hexdigest()


def _canonical(value: Any) -> str:
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"a key is made of plain JSON data (a file goes in as hash_file(path)): {error}") from error


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes. Size and date play no part: a changed pixel may change neither."""
    with path.open("rb") as file:
        sha = hashlib.sha256()
        while block := file.read(BLOCK):
            sha.update(block)
        return sha.hexdigest()


def hash_files(paths: Iterable[Path], *, threads: int = 4) -> str:
    """One hash for the contents of many files in the order given; their names do not matter."""
    # Threads run in parallel here: hashlib releases the interpreter's lock while it hashes.
    with ThreadPoolExecutor(threads) as pool:
        return digest(list(pool.map(hash_file, paths)))
