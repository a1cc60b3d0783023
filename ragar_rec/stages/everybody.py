"""RAGAR without the person: the control `everybody`, the strongest picture of an item that is the same for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from generation.ragar.ragar import Ragar
from generation.request import Generator, Request
from ragar_rec.evaluation.people import request_seed
from ragar_rec.stages.drawn import DrawnPictures, PictureStage
from ragar_rec.stages.item_sets import CatalogueItems
from ragar_rec.stages.ragar import RagarSystem
from ragar_rec.stages.stage import Keyed
from ragar_rec.stages.system import System

EVERYBODY = "everybody"
"""The control's name, and the user of requests that are nobody's."""


def impersonal(request: Request, seed: int) -> Request:
    """The request without its user's history: the reference stands in for it, and the noise is the reference's alone.

    The user stays, because the reward asks for whom a picture is; no generator reads it.
    """
    item = request.reference
    return replace(request, history=(item,), seed=request_seed(seed, EVERYBODY, item))


class ImpersonalGenerator:
    """A generator that is asked for pictures without any history.

    Args:
        generator: who draws.
        seed: of the noise.
    """

    def __init__(self, generator: Generator, seed: int) -> None:
        self.generator, self.seed = generator, seed

    def generate(self, requests: Sequence[Request]) -> Float[Tensor, "n 3 height width"]:
        """Pictures in [0, 1], the same for every user."""
        return self.generator.generate([impersonal(request, self.seed) for request in requests])


@dataclass(frozen=True, eq=False)
class EverybodySystem(RagarSystem):
    """RAGAR with the same warm start and reward, trained on requests without histories.

    The reward is still that of each person who trains it, so that it learns what pleases on average. It is not net of
    other people's (``reflection.personal``): a picture that is the same for all has no personal part to gain.
    """

    name: ClassVar[str] = "generator-everybody"

    @classmethod
    def beside(cls, system: System) -> EverybodySystem:
        """The system without the person that belongs to a system.

        Raises:
            ValueError: no ranker's reward trains the system.
        """
        if not isinstance(system, RagarSystem):
            raise ValueError(
                f"evaluation.controls names everybody, which trains the generator again without the person, but no "
                f"ranker's reward trains {system.label}: leave everybody out, or take generator.system: ragar"
            )
        training = replace(system.training, personal=0, personal_form="difference")
        return cls(system.workspace, system.warm, system.rewards, training, system.people_seed)

    @cached_property
    def training_requests(self) -> list[Request]:
        """Those of RAGAR, :func:`impersonal`."""
        return [impersonal(request, self.training.seed) for request in super().training_requests]

    def load(self, folder: Path) -> Ragar:
        """A generator saved in a folder."""
        # Nobody in particular has no taste.
        return self.warm.load(folder, taste=0.0, retrieval_taste=0.0)

    def generator_for(self, seed: int) -> ImpersonalGenerator:
        """The generator, with noise of this seed."""
        return ImpersonalGenerator(self.generator, seed)


@dataclass(frozen=True, eq=False)
class DrawnItems(Keyed):
    """The items of which some protocol shows drawn pictures."""

    drawn: DrawnPictures

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Ids in alphabetical order."""
        return tuple(sorted({request.reference for request in self.drawn.requests()}))


@dataclass(frozen=True, eq=False)
class EverybodyPictures(PictureStage):
    """A picture of each item, made for nobody in particular.

    Attributes:
        system: who draws.
        items: of what.
        seeds_drawn: a picture for each of these seeds.
        batch: pictures that are drawn at a time.
    """

    name: ClassVar[str] = "everybody-images"
    system: EverybodySystem
    items: CatalogueItems | DrawnItems
    seeds_drawn: tuple[int, ...]
    batch: int

    @property
    def seeds(self) -> tuple[int, ...]:
        return self.seeds_drawn

    @property
    def batch_size(self) -> int:
        return self.batch

    def requests(self) -> list[Request]:
        """One for each item and seed."""
        return [request for seed in self.seeds for request in self.requests_of(self.items.ids, seed)]

    def requests_of(self, ids: Sequence[str], seed: int) -> list[Request]:
        """The requests of some of the items with one seed."""
        return [impersonal(Request(EVERYBODY, item, (item,), seed=0), seed) for item in ids]
