"""Generated pictures on disk: shards that are written whole, continued after a stop, and know what each picture is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from generation.request import Request
from ragar_rec.store import digest

PROVENANCE = "provenance.json"

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
            _write_whole(receipt, lambda path: path.write_text(json.dumps(self.provenance, indent=1), encoding="utf-8"))
        self._place: dict[str, tuple[Path, int]] = {}
        self._shards = sorted(folder.glob("*.safetensors"))
        for shard in self._shards:
            self._place.update({name: (shard, row) for row, name in enumerate(_ids(shard))})

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

    def write(self, requests: Sequence[Request | str], images: Pictures) -> None:
        """Store a batch as one shard; floating values are clipped to [0, 1] and kept in 256 steps.

        Raises:
            ValueError: a request comes twice or is stored already, or requests and pictures differ in number.
        """
        names = [request_id(request) for request in requests]
        if len(names) != len(images):
            raise ValueError(f"{len(names)} requests for {len(images)} pictures")
        twice = [name for at, name in enumerate(names) if name in self._place or name in names[:at]]
        if twice:
            raise ValueError(f"{self.folder} would hold two pictures of request {twice[0]!r}")
        if not names:
            return
        shard = self.folder / f"{len(self._shards):05d}.safetensors"
        header = {"ids": json.dumps(names, ensure_ascii=False)}
        pixels = _bytes(images.detach().cpu()).contiguous()
        _write_whole(shard, lambda path: save_file({"images": pixels}, path, metadata=header))
        self._shards.append(shard)
        self._place.update({name: (shard, row) for row, name in enumerate(names)})

    __call__ = write

    def read(self, requests: Sequence[Request | str]) -> Float[Tensor, "batch 3 height width"]:
        """The pictures of these requests, in their order, in [0, 1].

        Raises:
            KeyError: a request has no picture.
        """
        absent = self.missing(requests)
        if absent:
            raise KeyError(f"{self.folder} has no picture of request {absent[0]!r} ({len(absent)} missing)")
        places = [self._place[request_id(request)] for request in requests]
        shards: dict[Path, Tensor] = {}
        for shard in {shard for shard, _ in places}:
            with safe_open(shard, framework="pt") as file:
                shards[shard] = file.get_tensor("images")
        pictures = [shards[shard][row] for shard, row in places]
        return torch.stack(pictures).float() / 255 if pictures else torch.empty(0, 3, 0, 0)


def _bytes(images: Tensor) -> Tensor:
    """[0, 1] as 0..255."""
    return images if images.dtype == torch.uint8 else images.clamp(0, 1).mul(255).round().to(torch.uint8)


def _ids(shard: Path) -> list[str]:
    try:
        with safe_open(shard, framework="pt") as file:
            return json.loads(file.metadata()["ids"])
    except (SafetensorError, TypeError, KeyError) as error:
        raise ValueError(f"{shard} is no shard of pictures ({error}); delete it and run again") from error


def _write_whole(path: Path, write: Any) -> None:
    """Write under another name, then rename: a file under its own name is always whole."""
    temporary = path.with_name(path.name + ".tmp")
    write(temporary)
    temporary.replace(path)
