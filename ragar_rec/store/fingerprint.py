"""A hash of a Python object: its class with its code, and its state, tensors by their values."""

from __future__ import annotations

import hashlib
import inspect
import io
import pickle
from pathlib import Path
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from ragar_rec.store.hashing import hash_file


def fingerprint(value: object) -> str:
    """SHA-256 of an object; equal classes, source files and states have equal fingerprints in every process.

    The state is what pickle would write. Classes and functions in it count by the files that define them, so that
    edited code makes another object.

    Raises:
        ValueError: the object holds what cannot be pickled (an open file, a reference to itself).
    """
    written = io.BytesIO()
    try:
        _Pickler(written).dump(value)
    except (pickle.PicklingError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"a {type(value).__name__} cannot be hashed ({error}), so nothing that it makes can be stored: name it in "
            "the config as package.module:name"
        ) from error
    return hashlib.sha256(written.getvalue()).hexdigest()


class _Pickler(pickle.Pickler):
    """Writes tensors by value, classes and functions by name and code. What it writes cannot be read back."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        # Without a memo equal values that are one object here and two objects in another process are written alike.
        self.fast = True
        self.codes: dict[object, str | None] = {}

    def reducer_override(self, value: Any) -> Any:
        # `repr` stands for "made of": pickle wants something to call, and it must be no class.
        if isinstance(value, Tensor):
            # torch pickles a storage with its address in memory.
            numbers = value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
            return repr, (str(value.dtype), tuple(value.shape), numbers)
        if isinstance(value, type):
            return repr, (_name(value), self._hash_code(value), _constants(value), *value.__bases__)
        if isinstance(value, FunctionType):
            cells = [cell.cell_contents for cell in value.__closure__ or ()]
            # One file may hold many a function called <lambda>.
            body = (value.__code__.co_firstlineno, value.__code__.co_code, value.__defaults__)
            return repr, (_name(value), self._hash_code(value), body, cells)
        if isinstance(value, nn.Module):
            # A set of texts has another order in each process.
            state = vars(value) | {"_non_persistent_buffers_set": sorted(value._non_persistent_buffers_set)}
            return repr, (type(value), state)
        return NotImplemented

    def _hash_code(self, value: type | FunctionType) -> str | None:
        if value not in self.codes:  # a network names the same few classes hundreds of times
            self.codes[value] = _code(value)
        return self.codes[value]


def _name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def _code(value: type | FunctionType) -> str | None:
    """Hash of the source file; the text of what was typed into a notebook; None for what is built in.

    Raises:
        ValueError: there is no source.
    """
    if value.__module__ == "builtins":
        return None
    try:
        file = inspect.getsourcefile(value)
        if file is not None and Path(file).is_file():
            return hash_file(Path(file))
    except TypeError:  # of an extension module, or of a notebook
        if value.__module__ != "__main__":
            return None
    except OSError:  # a class of a notebook, since Python 3.10
        pass
    members = [value] if isinstance(value, FunctionType) else [*map(_unwrapped, vars(value).values())]
    try:
        texts = [inspect.getsource(member) for member in members if isinstance(member, FunctionType)]
    except OSError as error:
        raise ValueError(f"the code of {_name(value)} is in no file") from error
    return "\n".join(texts)


def _unwrapped(member: Any) -> Any:
    """The function of a static or class method or a property."""
    return member.fget if isinstance(member, property) else getattr(member, "__func__", member)


def _constants(value: type) -> list[tuple[str, str]]:
    """Attributes of a class that are plain numbers and texts, which stand in no function's source."""
    plain = (bool, int, float, str, bytes, type(None))
    return sorted((name, repr(item)) for name, item in vars(value).items() if isinstance(item, plain))
