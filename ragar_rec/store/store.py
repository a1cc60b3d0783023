"""The store: a folder of entries, each under a key made of everything that its content depends on.

An entry is the result of one stage, a folder ``<name>-<key>``. It is built as ``<name>-<key>.partial`` and renamed when
it is complete. So a folder without that suffix is always complete, and Ctrl-C leaves finished entries and the one under
way where they are.
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

KEY_LENGTH = 16
"""Hexadecimal digits of the key in a folder's name; the manifest has all 64."""

HASHES = ".hashes"
"""Sub-folder that caches the hashes of folders of weights."""

SETTLED = 2_000_000_000
"""Age in nanoseconds from which a file's times tell a later change from the one before it, on every file system: the
coarsest, FAT, counts in steps of two seconds."""


class NotBuiltError(LookupError):
    """An entry that is not finished was asked for while the store only looks up."""


@dataclass(frozen=True)
class Entry:
    """One entry of the store: its name, what its content depends on, and where it stands or will stand."""

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
        """Whether it was finished and still has all its files at their full size."""
        if not (self.folder / MANIFEST).is_file():
            return False
        files = read_manifest(self.folder)["files"].items()
        return all(_size(self.folder / name) == file["bytes"] for name, file in files)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a finished entry: name, key, version, parts, created, seconds, files with bytes and sha256."""
    return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))


def content(folder: Path) -> str:
    """Hash of a finished entry's files, names included. A stage that reads the entry puts it into its own key."""
    files = read_manifest(folder)["files"]
    return digest({name: file["sha256"] for name, file in files.items()})


def content_of(folder: Path, *names: str) -> str:
    """Hash of what a finished entry was made from and of the named files alone.

    For entries some of whose other files differ between equal results, because they hold seconds.
    """
    manifest = read_manifest(folder)
    return digest([manifest["parts"], [manifest["files"][name]["sha256"] for name in names]])


class Store:
    """A folder of entries.

    Attributes:
        ran: names of the entries that this process built, in order.
        reused: names of those that it found finished, in order.
    """

    def __init__(self, root: Path, *, version: str | None = None) -> None:
        """Open the folder, or make it.

        Args:
            root: where the entries stand.
            version: part of every key; by default the package's version.

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
        self._looked_up: set[Path] | None = None
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            # Writing is the only test that holds everywhere: permission bits say nothing about read-only mounts.
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            reason = error.strerror or error
            raise PermissionError(f"cannot write to {root} ({reason}); name another folder with --output") from error

    def entry(self, name: str, parts: Mapping[str, Any]) -> Entry:
        """The entry of that name that depends on these parts (plain JSON data; files count by :func:`hash_file`)."""
        return Entry(name, parts, self.version, self.root)

    def run(
        self, name: str, parts: Mapping[str, Any], build: Callable[[Path], None], *, resumable: bool = False
    ) -> Path:
        """The finished folder of an entry; ``build(folder)`` fills it unless it is already there.

        Args:
            name: the first half of the folder's name.
            parts: what the content depends on.
            build: writes its files into the folder it is given.
            resumable: ``build`` finds the files of a run that was stopped and continues; else it finds none.

        Raises:
            RuntimeError: another process is building this very entry.
            NotBuiltError: within :meth:`looking_up`, the entry is not finished.
        """
        entry = self.entry(name, parts)
        if self._looked_up is not None:
            self._looked_up.add(entry.folder if entry.complete else entry.partial)
            if not entry.complete:
                raise NotBuiltError(f"{entry.folder} is not built")
            return entry.folder
        self._folders.append(entry.folder)
        if entry.complete:
            self.reused.append(name)
            return entry.folder
        entry.partial.mkdir(exist_ok=True)
        with locked(entry.partial):
            if not resumable:
                _empty(entry.partial)
            # Seconds of earlier, stopped runs are kept beside the folder: in it, they would count as a file of its own.
            began, clock = time.perf_counter(), entry.root / f".{entry.partial.name}.seconds"
            earlier = float(clock.read_text()) if resumable and clock.is_file() else 0.0
            try:
                build(entry.partial)
            except BaseException:
                with suppress(OSError):  # The disk may be full; the error under way says so better than one from here.
                    clock.write_text(str(earlier + time.perf_counter() - began))
                raise
            _finish(entry, earlier + time.perf_counter() - began)
            clock.unlink(missing_ok=True)
        self.ran.append(name)
        return entry.folder

    @property
    def builds(self) -> bool:
        """Whether :meth:`run` builds what is missing; False within :meth:`looking_up`."""
        return self._looked_up is None

    @contextmanager
    def looking_up(self) -> Iterator[set[Path]]:
        """Build nothing while the block runs; yields the folders that were asked for, which grow meanwhile.

        In place of the folder of an entry that is not finished its unfinished one is named.
        """
        self._looked_up = folders = set()
        try:
            yield folders
        finally:
            self._looked_up = None

    def hash_source(self, source: str) -> str:
        """Hash of a folder of weights: names and bytes of its files. A hub name is returned as it is.

        Hidden files (a download's notes, ``.git``) do not count. Gigabytes are read once: the hash is cached in the
        store under the files' paths, sizes and times of change, as soon as the last change is :data:`SETTLED`.
        """
        folder = Path(source)
        if not folder.is_dir():
            return source
        files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        files = {name: path for name, path in files.items() if not any(part[0] == "." for part in name.split("/"))}
        # The clock is read first: a file that changes after that has a later time and so looks unsettled.
        now, stats = time.time_ns(), [path.stat() for path in files.values()]
        stamps = [[stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns] for stat in stats]
        cached = self.root / HASHES / digest([str(folder.absolute()), list(files), stamps])
        if cached.is_file():
            return cached.read_text()
        source_hash = digest([list(files), hash_files(files.values())])
        if all(now - max(times) > SETTLED for _, *times in stamps):
            cached.parent.mkdir(exist_ok=True)
            temporary = cached.with_suffix(f".{os.getpid()}")
            temporary.write_text(source_hash)
            temporary.replace(cached)
        return source_hash

    def seconds(self) -> dict[str, float]:
        """Building time of the entries that this process built or reused, by name; entries of one name are summed.

        A reused entry counts with the time that it once took.
        """
        total: dict[str, float] = {}
        for folder in dict.fromkeys(self._folders):
            if (folder / MANIFEST).is_file():
                manifest = read_manifest(folder)
                total[manifest["name"]] = total.get(manifest["name"], 0) + manifest["seconds"]
        return total


def _finish(entry: Entry, seconds: float) -> None:
    """Write the manifest and give the folder its final name."""
    paths = sorted(path for path in entry.partial.rglob("*") if path.is_file() and path.name != MANIFEST)
    files = {
        path.relative_to(entry.partial).as_posix(): {"bytes": path.stat().st_size, "sha256": hash_file(path)}
        for path in paths
    }
    manifest = {
        "name": entry.name,
        "key": entry.key,
        "version": entry.version,
        "parts": entry.parts,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seconds": round(seconds, 2),
        "files": files,
    }
    (entry.partial / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    if entry.folder.exists():  # an entry that lost a file since and was built again
        shutil.rmtree(entry.folder)
    entry.partial.rename(entry.folder)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for this process. The system releases it when the process ends, even if it is killed."""
    try:
        import fcntl
    except ImportError:  # Windows has no such locks: there nobody stops two runs at once.
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
