"""What a folder of weights must hold before anything in it is read: every file, and no pickle in a weight's place."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

PICKLES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth")
"""Suffixes under which pickled weights go about."""


def require(folder: Path, *patterns: str) -> None:
    """Every pattern (a file's name, ``*`` and ``**/`` allowed) has a file in ``folder``.

    Raises:
        FileNotFoundError: one has none.
        ValueError: where safetensors should stand there are only pickled weights, which can run code when read.
    """
    for pattern in patterns:
        if any(folder.glob(pattern)):
            continue
        beside = folder.glob(str(Path(pattern).with_name("*")))
        pickles = sorted(file for file in beside if file.suffix in PICKLES)
        if pickles and pattern.endswith(".safetensors"):
            raise ValueError(
                f"{pickles[0]} is a pickle, which can run code when it is read: save these weights as safetensors"
            )
        raise FileNotFoundError(f"no {pattern} in {folder}: a part is missing, copy or download the whole folder again")


def require_tokenizer(folder: Path) -> None:
    """A tokenizer's words are there: without them transformers builds an empty one and says nothing.

    Raises:
        FileNotFoundError: they are not.
    """
    require(folder, "tokenizer_config.json")
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        require(folder, *(("vocab.json", "merges.txt") if (folder / "vocab.json").is_file() else ("tokenizer.json",)))


def require_model(folder: Path) -> None:
    """A model of transformers is whole: its settings, its weights as safetensors, its tokenizer.

    Raises:
        FileNotFoundError: something is missing.
        ValueError: the weights are pickled.
    """
    require(folder, "config.json", "*.safetensors")
    require_tokenizer(folder)


@contextmanager
def weights_of(
    what: str, source: str | Path, *, example: str, check: Callable[[Path], None] = require_model
) -> Iterator[None]:
    """Checks a folder of weights, then turns a failed ``from_pretrained(source)`` into one sentence.

    Args:
        what: the model in words, ``"BLIP-2 captioner"``.
        source: the folder or hub name that is being read.
        example: a hub name that would do.
        check: what a folder must hold; a hub name is left to its hub.

    Raises:
        FileNotFoundError: ``source`` is neither a folder nor a hub name within reach, or the folder lacks a file.
        ValueError: the folder's weights are pickled, or it does not read as such a model.
    """
    folder = Path(source)
    if there := folder.is_dir():
        check(folder)
    try:
        yield
    except (OSError, ValueError, SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
        if there:
            raise ValueError(f"{source} does not read as {what} ({reason}): copy or download it again") from error
        raise FileNotFoundError(
            f"no {what} at {source} (no such folder, nor a hub name within reach: {reason}). Where there is a network, "
            f"`hf download {example} --local-dir FOLDER` fetches one; give that FOLDER"
        ) from error


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


def read_notes(file: Path) -> dict[str, str]:
    """What was noted in the header of a safetensors file that reads."""
    with safe_open(file, "pt") as opened:
        return opened.metadata() or {}


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
