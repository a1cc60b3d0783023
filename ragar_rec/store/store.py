"""The store: finished stages on disk, each under a key made of everything that its result depends on.

A stage is a folder ``<name>-<key>``. It is built as ``<name>-<key>.partial`` and renamed when it is whole, so a folder
without that suffix is always complete, and Ctrl-C leaves finished stages and the begun one where they are.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ragar_rec.store.hashing import digest, hash_file, hash_files
from ragar_rec.version import __version__

MANIFEST = "manifest.json"


KEY_LENGTH = 16  # hexadecimal digits of a folder's name; the manifest has all 64


HASHES = ".hashes"


SETTLED = 2_000_000_000
"""Nanoseconds after which a file's times tell a later change from the one before it, on every file system."""


@dataclass(frozen=True)
class Entry:
    """One result: its name, what it depends on, and where it stands or will stand."""

    name: str
    parts: Mapping[str, Any]
    version: str
    root: Path

    @property
    def key(self) -> str:
        """SHA-256 over name, package version and parts."""
        return digest([self.name, self.version, self.parts])

    @property
    def folder(self) -> Path:
        """The finished folder."""
        return self.root / f"{self.name}-{self.key[:KEY_LENGTH]}"

    @property
    def partial(self) -> Path:
        """The folder while it is being built."""
        return self.folder.with_name(self.folder.name + ".partial")

    @property
    def complete(self) -> bool:
        """Whether it is finished and nothing of it was taken away since."""
        if not (self.folder / MANIFEST).is_file():
            return False
        files = read_manifest(self.folder)["files"].items()
        return all(_size(self.folder / name) == entry["bytes"] for name, entry in files)


def read_manifest(folder: Path) -> dict[str, Any]:
    """A finished stage's receipt: name, key, version, parts, created, seconds, files with bytes and sha256."""
    return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))


def content(folder: Path) -> str:
    """One hash for what a finished stage holds: the part that a stage which reads it puts in its own key."""
    files = read_manifest(folder)["files"]
    return digest({name: entry["sha256"] for name, entry in files.items()})


def content_of(folder: Path, *names: str) -> str:
    """As :func:`content`, of a stage some of whose files differ though the result is the same (they hold seconds):
    of what it was made from and of the files named.
    """
    manifest = read_manifest(folder)
    return digest([manifest["parts"], [manifest["files"][name]["sha256"] for name in names]])


class Store:
    """A folder of stages. ``ran`` and ``reused`` list the stages of this process by name, in order."""

    def __init__(self, root: Path, *, version: str | None = None) -> None:
        """Open or make the folder.

        Args:
            root: where the stages stand.
            version: part of every key; the package's version when not given.

        Raises:
            PermissionError: nothing can be written there.
        """
        if version is None:
            version = __version__
        self.root = root.absolute()
        self.version = version
        self.ran: list[str] = []
        self.reused: list[str] = []
        self._folders: list[Path] = []
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            reason = error.strerror or error
            raise PermissionError(f"cannot write to {root} ({reason}); name another folder with --output") from error

    def entry(self, name: str, parts: Mapping[str, Any]) -> Entry:
        """The stage of that name that depends on these parts (plain JSON data; file contents by :func:`hash_file`)."""
        return Entry(name, parts, self.version, self.root)

    def run(
        self, name: str, parts: Mapping[str, Any], build: Callable[[Path], None], *, resumable: bool = False
    ) -> Path:
        """The finished folder of a stage; ``build(folder)`` fills it unless it is already there.

        Args:
            name: the stage's name, the first half of the folder's.
            parts: what the result depends on.
            build: writes its files into the folder it is given.
            resumable: ``build`` finds the files of a run that was stopped and continues; else it finds none.

        Raises:
            RuntimeError: another process is building this very stage.
        """
        stage = self.entry(name, parts)
        self._folders.append(stage.folder)
        if stage.complete:
            self.reused.append(name)
            return stage.folder
        stage.partial.mkdir(exist_ok=True)
        with _alone(stage.partial):
            if not resumable:
                _empty(stage.partial)
            began, clock = time.perf_counter(), stage.root / f".{stage.partial.name}.seconds"
            before = float(clock.read_text()) if resumable and clock.is_file() else 0.0
            try:
                build(stage.partial)
            except BaseException:
                with suppress(OSError):  # A full disk: what is being raised says so better.
                    clock.write_text(str(before + time.perf_counter() - began))
                raise
            _finish(stage, before + time.perf_counter() - began)
            clock.unlink(missing_ok=True)
        self.ran.append(name)
        return stage.folder

    def hash_source(self, source: str) -> str:
        """Of a folder of weights, its files' names and bytes; a hub name stands for itself, always the same weights.

        Gigabytes are read once: their hash is kept in the store under the files' paths, sizes and times of change, and
        not before these have settled. Hidden files (a download's notes, ``.git``) do not count.
        """
        folder = Path(source)
        if not folder.is_dir():
            return source
        files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        files = {name: path for name, path in files.items() if not any(part[0] == "." for part in name.split("/"))}
        now, stats = time.time_ns(), [path.stat() for path in files.values()]
        stamps = [[stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns] for stat in stats]
        kept = self.root / HASHES / digest([str(folder.absolute()), list(files), stamps])
        if kept.is_file():
            return kept.read_text()
        found = digest([list(files), hash_files(files.values())])
        if all(now - max(times) > SETTLED for _, *times in stamps):
            kept.parent.mkdir(exist_ok=True)
            whole = kept.with_suffix(f".{os.getpid()}")
            whole.write_text(found)
            whole.replace(kept)
        return found

    def seconds(self) -> dict[str, float]:
        """Building time of this process's finished stages by name; a reused one counts with what it took once."""
        total: dict[str, float] = {}
        for folder in dict.fromkeys(self._folders):
            if (folder / MANIFEST).is_file():
                manifest = read_manifest(folder)
                total[manifest["name"]] = total.get(manifest["name"], 0) + manifest["seconds"]
        return total


def _finish(stage: Entry, seconds: float) -> None:
    """Write the manifest and give the folder its final name."""
    paths = sorted(path for path in stage.partial.rglob("*") if path.is_file() and path.name != MANIFEST)
    files = {
        path.relative_to(stage.partial).as_posix(): {"bytes": path.stat().st_size, "sha256": hash_file(path)}
        for path in paths
    }
    manifest = {
        "name": stage.name,
        "key": stage.key,
        "version": stage.version,
        "parts": stage.parts,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seconds": round(seconds, 2),
        "files": files,
    }
    (stage.partial / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    if stage.folder.exists():  # something was taken out of it: it is built anew
        shutil.rmtree(stage.folder)
    stage.partial.rename(stage.folder)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder for this process; the system lets go of it when the process ends, however it ends."""
    try:
        import fcntl
    except ImportError:  # Windows: two runs at once are the user's care
        yield
        return

    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RuntimeError(f"another run is building {folder}; wait for it, or name another --output") from error
        yield
    finally:
        os.close(handle)
