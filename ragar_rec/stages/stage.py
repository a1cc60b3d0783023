"""What a stage is: an object that knows its parents, with a key that follows from its fields and their contents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from generation.settings import INCIDENTAL
from ragar_rec.store.fingerprint import fingerprint
from ragar_rec.store.hashing import digest, hash_file
from ragar_rec.store.store import Entry, Store, content

OURS = "ragar_rec."
"""What the names of this library's modules of stages begin with."""


@dataclass(frozen=True)
class Workspace:
    """Where an experiment reads and writes. No part of any key: whatever is read counts by its content.

    Attributes:
        output: results and report.
        store: finished stages.
        data: the raw data set's folder, where the data set needs one.
        weights: pretrained weights, where the config asks for any.
        progress: whether bars with the time left are shown.
    """

    output: Path
    store: Store
    data: Path | None = None
    weights: Path | None = None
    progress: bool = True

    def __getstate__(self) -> dict[str, Any]:
        """As another process gets it: the first process shows the bars."""
        return {**vars(self), "progress": False}

    def weights_file(self, name: str) -> Path:
        """Where the weights of one of timm's models lie.

        Raises:
            FileNotFoundError: they do not.
        """
        if self.weights is None:
            raise FileNotFoundError(f"{name} needs pretrained weights: name their folder by --weights")
        file = self.weights / name / "model.safetensors"
        if not file.is_file():
            raise FileNotFoundError(f"no weights of {name} at {file}: give the folder that holds {name}/ by --weights")
        return file

    def data_file(self, name: str) -> Path:
        """What the config names, a file or folder: in the data folder if it is there, else in the working directory."""
        in_data = Path(name) if self.data is None else self.data / name
        return in_data if in_data.exists() else Path(name)


@dataclass(frozen=True, eq=False)
class Keyed:
    """An object whose :attr:`key` is made of its own fields: a parent counts by its content, a file by its bytes.

    Fields marked ``metadata=INCIDENTAL`` are left out, in config dataclasses too.
    """

    workspace: Workspace = field(metadata=INCIDENTAL, repr=False)

    @property
    def key(self) -> dict[str, Any]:
        """What the object depends on, as plain JSON data; a subclass may add to it or say it shorter.

        A class from outside this library counts by its code: it may have the fields of a class of ours.
        """
        kind = type(self)
        return _fields(self) | ({} if kind.__module__.startswith(OURS) else {"class": fingerprint(kind)})

    @cached_property
    def content(self) -> str:
        """The hash that children put into their own keys."""
        return digest(self.key)

    def __getstate__(self) -> dict[str, Any]:
        """As another process gets it: fields and hashes go along, loaded models and tables stay."""
        names = {entry.name for entry in fields(self)} | {"content", "folder"}
        return {name: value for name, value in vars(self).items() if name in names}


@dataclass(frozen=True, eq=False)
class Stage(Keyed):
    """An object with a folder in the store, built when first asked for and reused while nothing that it reads changed.

    A subclass names itself and implements :meth:`build`.
    """

    name: ClassVar[str]
    resumable: ClassVar[bool] = False
    """Whether :meth:`build` continues from the files of a run that was stopped."""

    def build(self, to: Path) -> None:
        """Write the stage's files into the folder ``to``."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise what would keep the stage from being built, before its parents are built for it."""

    @property
    def entry(self) -> Entry:
        """Its entry of the store, finished or not; what the key depends on is built."""
        return self.workspace.store.entry(self.name, self.key)

    @cached_property
    def folder(self) -> Path:
        """The finished folder."""
        if self.workspace.store.builds:
            self.check()
        return self.workspace.store.run(self.name, self.key, self.build, resumable=self.resumable)

    @cached_property
    def content(self) -> str:
        """Hash of the folder's files."""
        return content(self.folder)


def _fields(value: Any) -> dict[str, Any]:
    entries = [entry for entry in fields(value) if not entry.metadata.get("incidental")]
    return {entry.name: _plain(getattr(value, entry.name)) for entry in entries}


def _plain(value: Any) -> Any:
    """A field's value as plain JSON data."""
    if isinstance(value, Keyed):
        return value.content
    if is_dataclass(value):
        return _fields(value)
    if isinstance(value, Path):
        return hash_file(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value
