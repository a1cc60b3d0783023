"""Generated pictures on disk: shards that are written whole, continued after a stop, and know what each picture is."""

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
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from generation.request import Request
from ragar_rec.store.hashing import digest

PROVENANCE = "provenance.json"
MANIFEST = "manifest.csv"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a system says when there is no room: on the disk, in the user's quota, under a limit for files."""

Pictures = Float[Tensor, "batch 3 height width"] | UInt8[Tensor, "batch 3 height width"]
AnyRequest = TypeVar("AnyRequest", bound=Request | str)


def request_id(request: Request | str) -> str:
    """What a picture is stored under: user, reference, seed, and a hash of the history; a string stands for itself."""
    if isinstance(request, str):
        return request
    return json.dumps([request.user, request.reference, request.seed, digest(request.history)[:12]], ensure_ascii=False)


class ImageShards:
    """The sink of a generator: pictures under the ids of their requests, in ``00000.safetensors``, ``00001.…``.

    A shard holds ``images`` (uint8, NCHW) and, in its header, the ids in the same order; it appears under its name only
    when it is whole. After a stop, :meth:`missing` says what is left; a request is never answered twice. Called as a
    function it is a ``generation.request.Sink``. Requests may also be given as strings of the caller's making.

    Several processes may fill one folder: the first makes a :meth:`plan`, which says who writes which shard.
    """

    def __init__(self, folder: Path, provenance: Mapping[str, Any]) -> None:
        """Open or begin a folder of shards.

        Args:
            folder: made if it is not there.
            provenance: plain data that says how the pictures are made (config hash, seed, version).

        Raises:
            ValueError: the folder holds pictures of another provenance, or a shard that cannot be read.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.provenance = json.loads(json.dumps(provenance))
        receipt = folder / PROVENANCE
        if receipt.is_file():
            there = json.loads(receipt.read_text(encoding="utf-8"))
            if there != self.provenance:
                raise ValueError(
                    f"{folder} holds pictures made with {there}, not with {self.provenance}; use another folder"
                )
        else:
            _write_whole(receipt, json.dumps(self.provenance, indent=1).encode())
        self._place: dict[str, tuple[Path, int]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Look again at what is there: other processes may have written."""
        shards = sorted(self.folder.glob("*.safetensors"))
        self._place = {name: (shard, row) for shard in shards for row, name in enumerate(_ids(shard))}

    def __len__(self) -> int:
        return len(self._place)

    def __contains__(self, request: Request | str) -> bool:
        return request_id(request) in self._place

    @property
    def ids(self) -> list[str]:
        """The stored ids in the order in which they were written."""
        return list(self._place)

    def missing(self, requests: Sequence[AnyRequest]) -> list[AnyRequest]:
        """Those of the requests, in their order, that have no picture yet."""
        return [request for request in requests if request not in self]

    def plan(self, requests: Sequence[AnyRequest], size: int) -> list[tuple[Path, list[AnyRequest]]]:
        """Shards that are still to be written: ``size`` of the missing requests each, in their order, under free names.

        The same requests make the same shards, whether they are written in one go, in any order, by several processes,
        or after a stop that left some of them.
        """
        left = self.missing(list(dict.fromkeys(requests)))
        batches = [left[start : start + size] for start in range(0, len(left), size)]
        return list(zip(self._free(len(batches)), batches, strict=True))

    def _free(self, n: int) -> list[Path]:
        """The first ``n`` names that no shard has."""
        taken = {shard for shard, _ in self._place.values()}
        names = (self.folder / f"{number:05d}.safetensors" for number in count())
        free = (name for name in names if name not in taken)
        return [next(free) for _ in range(n)]

    def sweep(self) -> None:
        """Remove what a kill left half written. Nobody else may be writing."""
        for half in self.folder.glob("*.tmp"):
            half.unlink()

    def write(self, requests: Sequence[Request | str], images: Pictures, shard: Path | None = None) -> None:
        """Store a batch as one shard; floating values are clipped to [0, 1] and kept in 256 steps.

        Args:
            requests: one a picture.
            images: their pictures.
            shard: its file, if a :meth:`plan` says so; by default the first free name.

        Raises:
            ValueError: a request comes twice or is stored already, or requests and pictures differ in number.
            OSError: the disk is full. Nothing of the shard stays, and what was written before can be continued.
        """
        names = [request_id(request) for request in requests]
        if len(names) != len(images):
            raise ValueError(f"{len(names)} requests for {len(images)} pictures")
        twice = [name for at, name in enumerate(names) if name in self._place or name in names[:at]]
        if twice:
            raise ValueError(f"{self.folder} would hold two pictures of request {twice[0]!r}")
        if not names:
            return
        shard = shard or self._free(1)[0]
        header = {"ids": json.dumps(names, ensure_ascii=False)}
        _write_whole(shard, save({"images": _bytes(images.detach().cpu()).contiguous()}, metadata=header))
        self._place.update({name: (shard, row) for row, name in enumerate(names)})

    __call__ = write

    def read(self, requests: Sequence[Request | str]) -> Float[Tensor, "batch 3 height width"]:
        """The pictures of these requests, in their order, in [0, 1].

        Raises:
            KeyError: a request has no picture.
        """
        places = self._places(requests)
        rows: dict[int, Tensor] = {}
        for shard, group in groupby(sorted(range(len(places)), key=places.__getitem__), key=lambda at: places[at][0]):
            with safe_open(shard, framework="pt") as file:
                images = file.get_slice("images")
                rows.update({at: images[places[at][1]] for at in group})
        return torch.stack([rows[at] for at in range(len(places))]).float() / 255 if rows else torch.empty(0, 3, 0, 0)

    def _places(self, requests: Sequence[Request | str]) -> list[tuple[Path, int]]:
        if absent := self.missing(requests):
            raise KeyError(f"{self.folder} has no picture of request {absent[0]!r} ({len(absent)} missing)")
        return [self._place[request_id(request)] for request in requests]

    def write_manifest(self, requests: Sequence[Request | str]) -> Path:
        """``manifest.csv``: where the picture of each request stands, in the order in which they lie there.

        Columns: shard, row, user, item, seed, and the hash of the history that tells requests apart.

        Raises:
            KeyError: a request has no picture.
        """
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(("shard", "row", "user", "item", "seed", "history"))
        named = {place: request_id(request) for place, request in zip(self._places(requests), requests, strict=True)}
        for (shard, row), name in sorted(named.items()):
            table.writerow((shard.name, row, *json.loads(name)))
        _write_whole(self.folder / MANIFEST, text.getvalue().encode())
        return self.folder / MANIFEST


def _bytes(images: Tensor) -> Tensor:
    """[0, 1] as 0..255."""
    return images if images.dtype == torch.uint8 else images.clamp(0, 1).mul(255).round().to(torch.uint8)


def _ids(shard: Path) -> list[str]:
    try:
        with safe_open(shard, framework="pt") as file:
            return json.loads(file.metadata()["ids"])
    except (SafetensorError, TypeError, KeyError) as error:
        raise ValueError(f"{shard} is no shard of pictures ({error}); delete it and run again") from error


def _write_whole(path: Path, data: bytes) -> None:
    """Write under another name, then rename: a file under its own name is always whole.

    The other name is nobody else's: a process that outlived its launcher may be writing the same shard.
    """
    temporary = path.with_name(f"{path.name}.{uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # Some file systems say only now that they are full.
        temporary.replace(path)
    except OSError as error:
        if error.errno not in FULL:
            raise
        advice = "what was finished is kept, make room and run the same command to continue"
        raise OSError(error.errno, f"{error.strerror} ({len(data):,} bytes); {advice}", str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)
