"""Generated pictures on disk, in shards: each is written whole, names its pictures, and a stopped run can continue."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
from collections.abc import Mapping, Sequence
from itertools import count, groupby
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from generation.pictures import to_pil
from generation.request import Request
from ragar_rec.store.hashing import digest

PROVENANCE = "provenance.json"
MANIFEST = "manifest.csv"

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a system without room: on the disk, in the user's quota, under a limit for the size of files."""

Pictures = Float[Tensor, "batch 3 height width"] | UInt8[Tensor, "batch 3 height width"]
AnyRequest = TypeVar("AnyRequest", bound=Request | str)
"""A request, or an id of the caller's making in its place."""


def request_id(request: Request | str) -> str:
    """Id that a picture is stored under: user, reference, seed and a hash of the history; a string is its own id."""
    if isinstance(request, str):
        return request
    return json.dumps([request.user, request.reference, request.seed, digest(request.history)[:12]], ensure_ascii=False)


class ImageShards:
    """A folder of generated pictures, stored under the ids of their requests in ``00000.safetensors``, ``00001.…``.

    A shard holds ``images`` (uint8, NCHW) and, in its header, the ids in the same order; it appears under its name only
    when it is whole. After a stop, :meth:`missing` returns what is left; no request is stored twice. An instance is a
    ``generation.request.Sink``. Requests may also be given as strings of the caller's making.

    Several processes may fill one folder: the first makes a :meth:`plan`, which says who writes which shard.
    """

    def __init__(self, folder: Path, provenance: Mapping[str, Any]) -> None:
        """Open a folder of shards, or make it.

        Args:
            folder: is made if it does not exist.
            provenance: plain data on how the pictures are made (config hash, seed, version).

        Raises:
            ValueError: the folder holds pictures of another provenance, or a shard that cannot be read.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        # As JSON gives it back (tuples as lists), for the comparison with the file.
        self.provenance = json.loads(json.dumps(provenance))
        file = folder / PROVENANCE
        if file.is_file():
            existing = json.loads(file.read_text(encoding="utf-8"))
            if existing != self.provenance:
                raise ValueError(
                    f"{folder} holds pictures of another generator or setting ({existing}, not {self.provenance}): "
                    "give another --output, or move that folder away"
                )
        else:
            write_whole(file, json.dumps(self.provenance, indent=1).encode())
        self._index: dict[str, tuple[Path, int]] = {}  # id -> shard and row
        self.refresh()

    def refresh(self) -> None:
        """Read the folder again: other processes may have written shards since."""
        shards = sorted(self.folder.glob("*.safetensors"))
        self._index = {name: (shard, row) for shard in shards for row, name in enumerate(_ids(shard))}

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, request: Request | str) -> bool:
        return request_id(request) in self._index

    @property
    def ids(self) -> list[str]:
        """The stored ids in the order in which they were written."""
        return list(self._index)

    def missing(self, requests: Sequence[AnyRequest]) -> list[AnyRequest]:
        """Those of the requests, in their order, that have no picture yet."""
        return [request for request in requests if request not in self]

    def plan(self, requests: Sequence[AnyRequest], size: int) -> list[tuple[Path, list[AnyRequest]]]:
        """Shards that are still to be written: ``size`` of the missing requests each, in their order, under free names.

        The same requests make the same shards, whether they are written in one go, in any order, by several processes,
        or after a stop that left some of them.
        """
        missing = self.missing(list(dict.fromkeys(requests)))
        batches = [missing[start : start + size] for start in range(0, len(missing), size)]
        return list(zip(self._free(len(batches)), batches, strict=True))

    def _free(self, n: int) -> list[Path]:
        """The first ``n`` names that no shard has."""
        taken = {shard for shard, _ in self._index.values()}
        names = (self.folder / f"{number:05d}.safetensors" for number in count())
        free = (name for name in names if name not in taken)
        return [next(free) for _ in range(n)]

    def sweep(self) -> None:
        """Remove half-written files of a process that was killed. No other process may be writing meanwhile."""
        for temporary in self.folder.glob("*.tmp"):
            temporary.unlink()

    def write(self, requests: Sequence[Request | str], images: Pictures, shard: Path | None = None) -> None:
        """Store a batch as one shard. Floating-point pictures are clipped to [0, 1] and rounded to 256 levels.

        Args:
            requests: one per picture.
            images: the pictures.
            shard: the shard's file as a :meth:`plan` has it; by default the first free name.

        Raises:
            ValueError: a request comes twice or is stored already, or requests and pictures differ in number.
            OSError: the disk is full. Nothing of the shard stays; earlier shards do, and a second run can continue.
        """
        ids = [request_id(request) for request in requests]
        if len(ids) != len(images):
            raise ValueError(f"{len(ids)} requests for {len(images)} pictures")
        duplicates = [name for at, name in enumerate(ids) if name in self._index or name in ids[:at]]
        if duplicates:
            raise ValueError(f"{self.folder} would hold two pictures of request {duplicates[0]!r}")
        if not ids:
            return
        shard = shard or self._free(1)[0]
        header = {"ids": json.dumps(ids, ensure_ascii=False)}  # safetensors takes text alone
        write_whole(shard, save({"images": _to_uint8(images.detach().cpu()).contiguous()}, metadata=header))
        self._index.update({name: (shard, row) for row, name in enumerate(ids)})

    __call__ = write

    def read(self, requests: Sequence[Request | str]) -> Float[Tensor, "batch 3 height width"]:
        """Read the pictures of these requests, in their order, as float32 in [0, 1].

        Raises:
            KeyError: a request has no picture.
        """
        places = self._places(requests)
        images: dict[int, Tensor] = {}  # by position among the requests
        # Sorted by place, so that each shard is opened once and read from front to back.
        positions = sorted(range(len(places)), key=places.__getitem__)
        for shard, group in groupby(positions, key=lambda position: places[position][0]):
            with safe_open(shard, framework="pt") as file:
                stored = file.get_slice("images")
                images.update({position: stored[places[position][1]] for position in group})
        if not images:
            return torch.empty(0, 3, 0, 0)
        return torch.stack([images[position] for position in range(len(places))]).float() / 255

    def __getitem__(self, key: Request | str | tuple[str, str]) -> Image.Image:
        """One picture as a PIL image: of a request, or the first of (user, item).

        Raises:
            KeyError: there is no such picture.
        """
        if not isinstance(key, tuple):
            return to_pil(self.read([key])[0])
        own = next((name for name in self._index if json.loads(name)[:2] == list(key)), None)
        if own is None:
            raise KeyError(f"{self.folder} has no picture of item {key[1]!r} for user {key[0]!r}")
        return self[own]

    def _places(self, requests: Sequence[Request | str]) -> list[tuple[Path, int]]:
        if missing := self.missing(requests):
            raise KeyError(f"{self.folder} has no picture of request {missing[0]!r} ({len(missing)} missing)")
        return [self._index[request_id(request)] for request in requests]

    def write_manifest(self, requests: Sequence[Request | str]) -> Path:
        """Write ``manifest.csv``, which says where the picture of each request stands, in the order of the shards.

        Columns: shard, row, user, item, seed, and the hash of the history that tells requests apart.

        Raises:
            KeyError: a request has no picture.
        """
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(("shard", "row", "user", "item", "seed", "history"))
        ids = {place: request_id(request) for place, request in zip(self._places(requests), requests, strict=True)}
        for (shard, row), name in sorted(ids.items()):
            table.writerow((shard.name, row, *json.loads(name)))
        write_whole(self.folder / MANIFEST, text.getvalue().encode())
        return self.folder / MANIFEST


def _to_uint8(images: Tensor) -> Tensor:
    """Pictures in [0, 1] as integers from 0 to 255; uint8 pictures as they are."""
    return images if images.dtype == torch.uint8 else images.clamp(0, 1).mul(255).round().to(torch.uint8)


def _ids(shard: Path) -> list[str]:
    """The ids in a shard's header."""
    try:
        with safe_open(shard, framework="pt") as file:
            return json.loads(file.metadata()["ids"])
    except (SafetensorError, TypeError, KeyError) as error:
        raise ValueError(f"{shard} is no shard of pictures ({error}); delete it and run again") from error


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under a temporary name and rename it, so that a file under its own name is always whole."""
    # A name of this call's own: a process that outlived its launcher may still be writing the same shard.
    temporary = path.with_name(f"{path.name}.{uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # Some file systems say only now that they are full.
        temporary.replace(path)
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        advice = "what was finished is kept, make room and run the same command to continue"
        raise OSError(error.errno, f"{error.strerror} ({len(data):,} bytes); {advice}", str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)
