"""What augmentation, evaluation and report know of a system that generates pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from torch import Tensor

# Before Python 3.12 isinstance with a protocol of `typing` evaluates every property, and so would train a generator.
from typing_extensions import Protocol, runtime_checkable

from generation.request import Explanation, Request
from generation.request import Generator as Generator
from ragar_rec.evaluation.people import People
from ragar_rec.stages.catalogue import Pictures
from ragar_rec.stages.masks import Masks
from ragar_rec.stages.ranker import Ranker
from ragar_rec.stages.stage import Workspace


@runtime_checkable
class System(Protocol):
    """A system whose pictures are drawn, judged and shown; also a :class:`ragar_rec.stages.stage.Keyed`.

    Attributes:
        label: its name in tables.
        content: the hash that stages which read its pictures put into their keys.
        description: what the report says of its settings.
        pictures: of the catalogue, at the size that it generates.
        ranker: whose lists the report shows; the one that rewarded it, where one did.
        people: users whom it may learn from, and users held out for judging it.
        generator: draws the pictures.
        compared: generators that its own pictures are compared with under the protocol ``generator``, by control.
        reconstruct: pictures of items through its codec and back, by the items' ids; None if it has none.
        masks: of what its pictures keep of the items' own; None if they keep nothing.
        learned_from_ranker: whether :attr:`ranker` gave the reward that it was trained with.
        curve_folders: folders of trainings whose curves the report shows.
    """

    @property
    def workspace(self) -> Workspace: ...
    @property
    def label(self) -> str: ...
    @cached_property
    def content(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def pictures(self) -> Pictures: ...
    @property
    def ranker(self) -> Ranker: ...
    @cached_property
    def people(self) -> People: ...
    @cached_property
    def generator(self) -> Generator: ...
    @property
    def compared(self) -> Mapping[str, Generator]: ...
    @property
    def reconstruct(self) -> Callable[[Sequence[str]], Tensor] | None: ...
    @property
    def masks(self) -> Masks | None: ...
    @property
    def learned_from_ranker(self) -> bool: ...
    @property
    def curve_folders(self) -> list[Path]: ...

    def batched(self, batch_size: int) -> Generator:
        """A generator whose pictures do not depend on how requests are divided into batches of this size."""
        ...

    def explain(self, requests: Sequence[Request]) -> Sequence[Explanation] | None:
        """What each picture was generated from; None if the system does not say."""
        ...
