"""What a folder of weights must hold before anything in it is read: every file, and no pickle in a weight's place."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

PICKLES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth")
"""Suffixes under which pickled weights go about."""


def require(folder: Path, *patterns: str) -> None:
    """Every pattern (a file's name, ``*`` allowed) has a file in ``folder``.

    Raises:
        FileNotFoundError: one has none.
        ValueError: where safetensors should stand there are only pickled weights, which can run code when read.
    """
    for pattern in patterns:
        if any(folder.glob(pattern)):
            continue
        pickles = sorted(file for file in folder.glob("*") if file.suffix in PICKLES)
        if pickles and pattern.endswith(".safetensors"):
            raise ValueError(
                f"{pickles[0]} is a pickle, which can run code when it is read: save these weights as safetensors"
            )
        raise FileNotFoundError(f"no {pattern} in {folder}: copy the whole folder of a saved generator")


def require_tokenizer(folder: Path) -> None:
    """A tokenizer's words are there: without them transformers builds an empty one and says nothing.

    Raises:
        FileNotFoundError: they are not.
    """
    require(folder, "tokenizer_config.json")
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        require(folder, *(("vocab.json", "merges.txt") if (folder / "vocab.json").is_file() else ("tokenizer.json",)))


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is something else, or a part of one; or a pickle stands in its place.
    """
    require(file.parent, file.name)
    try:
        return load_file(file)
    except SafetensorError as error:
        raise ValueError(f"{file} does not read as safetensors ({error}): copy or save it again") from error


def read_json(file: Path) -> Any:
    """What a JSON file holds.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is no JSON.
    """
    require(file.parent, file.name)
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} does not read as JSON ({error}): copy or save it again") from error
