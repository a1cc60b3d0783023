"""A request for a personalised picture, and what any generator must answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from jaxtyping import Float, UInt8
from torch import Tensor


@runtime_checkable
class Item(Protocol):
    """An item as generation reads it; a catalogue's rows satisfy the protocol without an import."""

    @property
    def id(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def tags(self) -> tuple[str, ...]: ...
    @property
    def description(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def image(self) -> Path | None: ...


@dataclass(frozen=True)
class Request:
    """Render the item ``reference`` for ``user``, whose ``history`` (item ids, oldest first) precedes it (eq. 1)."""

    user: str
    reference: str
    history: tuple[str, ...]
    seed: int


@dataclass(frozen=True)
class Explanation:
    """What a picture was generated from: the retrieved items, their weights (which sum to 1), and the keywords."""

    retrieved: tuple[str, ...]
    weights: tuple[float, ...]
    keywords: tuple[str, ...]


Sink = Callable[[Sequence[Request], UInt8[Tensor, "n 3 height width"]], None]
"""Receives finished pictures; generation itself writes no files."""


@runtime_checkable
class Generator(Protocol):
    """Generates pictures for requests: RAGAR, a baseline, a service."""

    def generate(self, requests: Sequence[Request]) -> Float[Tensor, "n 3 height width"]:
        """Pictures in [0, 1], in the order of the requests; the same request gives the same picture."""
        ...
