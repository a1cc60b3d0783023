"""A request for a personalised picture, and what any generator must answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from jaxtyping import Float, UInt8
from torch import Tensor


@runtime_checkable
class Item(Protocol):
    """What generation reads of an item; a catalogue's rows satisfy it without an import."""

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
    """Render ``reference`` for ``user``, whose ``history`` (item ids, oldest first) came before it (eq. 1)."""

    user: str
    reference: str
    history: tuple[str, ...]
    seed: int


@dataclass(frozen=True)
class Explanation:
    """Why a picture looks as it does: what was retrieved, with which weights (they sum to 1), and the keywords."""

    retrieved: tuple[str, ...]
    weights: tuple[float, ...]
    keywords: tuple[str, ...]


Sink = Callable[[Sequence[Request], UInt8[Tensor, "n 3 height width"]], None]
"""Takes finished pictures; generation itself writes nothing."""


@runtime_checkable
class Generator(Protocol):
    """Anything that answers requests with pictures: RAGAR, a baseline, a service."""

    def generate(self, requests: Sequence[Request]) -> Float[Tensor, "n 3 height width"]:
        """Pictures in [0, 1], in the order of the requests; the same request gives the same picture."""
        ...
