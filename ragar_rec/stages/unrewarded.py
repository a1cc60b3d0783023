"""What systems on RAGAR's frozen components have in common that learn from interactions, but from no reward."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from torch import Tensor

from generation.backbone.config import SamplingConfig
from generation.fixed_batches import FixedBatches
from generation.request import Explanation, Generator, Request
from generation.settings import INCIDENTAL
from ragar_rec.evaluation.people import People, divide, generator_requests
from ragar_rec.stages.catalogue import Pictures
from ragar_rec.stages.components import Components
from ragar_rec.stages.masks import Masks
from ragar_rec.stages.ranker import Ranker
from ragar_rec.stages.stage import Stage
from ragar_rec.store.hashing import digest
from ragar_rec.store.store import content


@dataclass(frozen=True, eq=False)
class UnrewardedSystem(Stage):
    """A system that trains on the same people's interactions as RAGAR, with the same frozen components, without reward.

    A subclass has ``name``, ``label``, ``description``, ``build``, ``generator`` and, where it says, ``explain``.

    Attributes:
        components: the frozen parts, shared with RAGAR.
        ranker: whose lists the report shows, and whose interactions are split. It counts by the training requests that
            follow from the split alone: other weights of the ranker train the same generator.
        held_out: share of the people who judge the generator, as for RAGAR.
        people_seed: of the division of people.
        seed: of initial weights, batches and noise.
        sampling: histories, and how pictures are sampled, as for RAGAR.
    """

    components: Components
    ranker: Ranker = field(metadata=INCIDENTAL)
    held_out: float
    people_seed: int
    seed: int
    sampling: SamplingConfig

    @property
    def key(self) -> dict[str, Any]:
        """Also what is learned from."""
        return super().key | {"requests": digest([asdict(request) for request in self.training_requests])}

    @property
    def pictures(self) -> Pictures:
        """Of the catalogue."""
        return self.components.pictures

    @cached_property
    def people(self) -> People:
        """Users, divided as for RAGAR, so that both are judged on the same ones."""
        return divide(self.ranker.dataset, self.held_out, self.people_seed)

    @cached_property
    def training_requests(self) -> list[Request]:
        """A request for each user of ``people.train`` whose history makes one.

        Raises:
            ValueError: they are fewer than two, or no user of ``people.test`` makes one.
        """
        return generator_requests(self.ranker.dataset, self.people, self.pictures.pictured, self.seed)

    def check(self) -> None:
        """Say before the components are trained what would keep this system from being trained.

        Raises:
            ValueError: the masks of what is kept cannot be made, or too few users make requests.
            FileNotFoundError: masks are missing.
        """
        if self.masks is not None:
            _ = self.masks.kept
        _ = self.training_requests

    @cached_property
    def content(self) -> str:
        """Hash of what was trained, of the frozen components, and of who is held out."""
        return digest([content(self.folder), self.components.content, self.people_seed, self.held_out])

    @cached_property
    def generator(self) -> Generator:
        """The trained generator."""
        raise NotImplementedError

    def batched(self, batch_size: int) -> Generator:
        """The generator with one shape of batch."""
        return FixedBatches(self.generator, batch_size)

    def explain(self, requests: Sequence[Request]) -> Sequence[Explanation] | None:
        """It does not say."""
        return None

    @property
    def compared(self) -> Mapping[str, Generator]:
        """Nothing beside the controls that every system has."""
        return {}

    @property
    def reconstruct(self) -> Callable[[Sequence[str]], Tensor]:
        """What the generator's domain makes of items' own pictures by itself."""
        return partial(self.components.reconstruct, sampling=self.sampling)

    @property
    def masks(self) -> Masks | None:
        """Those of the gallery."""
        return self.components.masks

    @property
    def learned_from_ranker(self) -> bool:
        """No ranker rewarded it."""
        return False

    @property
    def curve_folders(self) -> list[Path]:
        """Those of the small models and of the training."""
        return [*self.components.trained_folders, self.folder]
