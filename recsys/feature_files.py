"""File formats of feature tables: .safetensors, .npy with a file of item tokens beside it, and .npz."""

from __future__ import annotations

import json
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from safetensors import SafetensorError, safe_open

from recsys.tables import read_text

TABLES = (".safetensors", ".npy", ".npz")
"""Suffixes of feature tables."""


def feature_files(path: Path | str) -> list[Path]:
    """The files that :func:`read_table` reads: the table and, for a ``.npy``, the file of item tokens beside it.

    Raises:
        FileNotFoundError: there is no such file, or no file of tokens beside it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no feature table at {path}")
    return [path, _tokens_file(path)] if path.suffix == ".npy" else [path]


# Item tokens, and the array as it is stored.
Table = tuple[tuple[str, ...], np.ndarray]


def read_table(path: Path) -> Table:
    """Read item tokens and values of a feature table; any suffix but ``.npy`` and ``.npz`` is read as safetensors.

    Raises:
        FileNotFoundError: a ``.npy`` has no file of item tokens beside it.
        ValueError: the file is no feature table, or a damaged one.
    """
    if path.suffix == ".npy":
        return _read_npy(path)
    return _read_npz(path) if path.suffix == ".npz" else _read_safetensors(path)


def _read_safetensors(path: Path) -> Table:
    try:
        with safe_open(path, framework="numpy") as file:
            return tuple(json.loads(file.metadata()["ids"])), file.get_tensor("values")
    except (SafetensorError, TypeError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is no feature table (safetensors with ids in its header): {error}") from error


def _read_npy(path: Path) -> Table:
    tokens_file, values = _tokens_file(path), read_array(path)
    # Not str.splitlines: it would cut a token at characters that are no line breaks of a file, such as U+2028.
    text = read_text(tokens_file)
    lines = text.removesuffix("\n").split("\n") if text else []
    heading = tokens_file.suffix == ".csv" and [line.strip() for line in lines[:1]] == ["item_id"]
    ids = tuple(line.strip() for line in lines[heading:])
    if values.ndim and len(ids) != len(values):
        raise ValueError(f"{tokens_file} names {len(ids)} items, but {path} has {len(values)} feature rows")
    return ids, values


def read_array(path: Path) -> np.ndarray:
    """Read the array of a ``.npy`` file.

    Raises:
        ValueError: the file is no ``.npy``, is cut short, or holds Python objects.
    """
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is no array that numpy.save wrote, or a damaged one: {error}") from error


def _read_npz(path: Path) -> Table:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return tuple(token.strip() for token in arrays["ids"].astype(str).tolist()), arrays["values"]
    except (ValueError, EOFError, KeyError, BadZipFile) as error:
        raise ValueError(f"{path} is no feature table (.npz with the arrays ids and values): {error}") from error


def _tokens_file(path: Path) -> Path:
    candidates = [path.with_suffix(f".ids.{suffix}") for suffix in ("txt", "csv")]
    for file in candidates:
        if file.is_file():
            return file
    raise FileNotFoundError(
        f"{path} says nothing of whose rows these are: put the items' tokens, one a line, into {candidates[0]}"
    )
