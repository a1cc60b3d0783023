"""Checks of a folder of weights before anything in it is read: every file is there, and none is pickled."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

PICKLES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth")
"""Suffixes of files of pickled weights."""


def require(folder: Path, *patterns: str) -> None:
    """Check that every pattern (a file's name, ``*`` and ``**/`` allowed) matches a file in ``folder``.

    Raises:
        FileNotFoundError: a pattern matches none.
        ValueError: in place of safetensors there are pickled weights alone, which can run code when read.
    """
    for pattern in patterns:
        if any(folder.glob(pattern)):
            continue
        siblings = folder.glob(str(Path(pattern).with_name("*")))
        pickles = sorted(file for file in siblings if file.suffix in PICKLES)
        if pickles and pattern.endswith(".safetensors"):
            raise ValueError(
                f"{pickles[0]} is a pickle, which can run code when it is read: save these weights as safetensors"
            )
        raise FileNotFoundError(f"no {pattern} in {folder}: a part is missing, copy or download the whole folder again")


def require_tokenizer(folder: Path) -> None:
    """Check that a tokenizer's vocabulary is there: transformers would build an empty tokenizer without a warning.

    Raises:
        FileNotFoundError: a file is missing.
    """
    require(folder, "tokenizer_config.json")
    # Fast tokenizers have one file, SentencePiece's another, older BPE two; the message names the most likely one.
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        require(folder, *(("vocab.json", "merges.txt") if (folder / "vocab.json").is_file() else ("tokenizer.json",)))


def require_model(folder: Path) -> None:
    """Check that a model of transformers is whole: its configuration, its weights as safetensors, its tokenizer.

    Raises:
        FileNotFoundError: something is missing.
        ValueError: the weights are pickled.
    """
    require(folder, "config.json", "*.safetensors")
    require_tokenizer(folder)


@contextmanager
def reading_weights(
    kind: str, source: str | Path, *, example: str, check: Callable[[Path], None] = require_model
) -> Iterator[None]:
    """Check a folder of weights, then turn the error of a failed ``from_pretrained(source)`` into one sentence.

    Args:
        kind: the model in words, ``"BLIP-2 captioner"``.
        source: the folder or hub name that is being read.
        example: a hub name that would do.
        check: raises if a folder lacks a file; files on a hub are not checked.

    Raises:
        FileNotFoundError: ``source`` is neither a folder nor a hub name within reach, or the folder lacks a file.
        ValueError: the folder's weights are pickled, or it does not read as such a model.
    """
    folder = Path(source)
    if is_folder := folder.is_dir():
        check(folder)
    try:
        with _without_bars():
            yield
    # transformers and diffusers raise OSError for missing files and for hubs out of reach, ValueError for the rest.
    except (OSError, ValueError, SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
        if is_folder:
            raise ValueError(f"{source} does not read as {kind} ({reason}): copy or download it again") from error
        raise FileNotFoundError(
            f"no {kind} at {source} (no such folder, nor a hub name within reach: {reason}). Where there is a network, "
            f"`hf download {example} --local-dir FOLDER` fetches one; give that FOLDER"
        ) from error


@contextmanager
def _without_bars() -> Iterator[None]:
    """Silence the bars that transformers shows while it reads a file; a switch of the whole process is put back."""
    # Imported late: this module serves readers of plain JSON too.
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is no safetensors file or a truncated one, or a pickle stands in its place.
    """
    require(file.parent, file.name)
    try:
        return load_file(file)
    except SafetensorError as error:
        raise ValueError(f"{file} does not read as safetensors ({error}): copy or save it again") from error


def read_metadata(file: Path) -> dict[str, str]:
    """Read the metadata in the header of a valid safetensors file."""
    with safe_open(file, "pt") as opened:
        return opened.metadata() or {}  # None in a file without metadata


def read_json(file: Path) -> Any:
    """Read a JSON file.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is no JSON.
    """
    require(file.parent, file.name)
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} does not read as JSON ({error}): copy or save it again") from error
