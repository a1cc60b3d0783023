"""A generator of the user's own as a system: ``package.module:name``, without any training of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from generation.plugins import code_of, import_named, keywords_for
from generation.request import Explanation, Generator, Request
from generation.settings import INCIDENTAL
from generation.systems.choice import SYSTEMS
from generation.systems.own import OwnGenerator, load_generator
from ragar_rec.evaluation.people import People, divide
from ragar_rec.stages.catalogue import Pictures
from ragar_rec.stages.components import Components
from ragar_rec.stages.masks import Masks
from ragar_rec.stages.ranker import Ranker
from ragar_rec.stages.stage import Keyed
from ragar_rec.store.hashing import hash_file


@dataclass(frozen=True, eq=False)
class OwnSystem(Keyed):
    """A generator of the user's own; its code counts.

    The factory may have these keyword arguments: ``items`` (the catalogue's rows, each a ``generation.request.Item``),
    ``images`` (their pictures as bytes (items, 3, height, width), zeros for an item without one), ``size`` (height and
    width), ``gallery`` (a :class:`generation.gallery.Gallery`: also captions, keywords and features).

    Attributes:
        pictures: of the catalogue.
        ranker: whose lists the report shows, and whose interactions are split.
        source: ``package.module:name``.
        held_out: share of the people who judge the generator, as for RAGAR.
        people_seed: of the division of people.
        components: of RAGAR; the gallery is made of them, and they count, if the generator asks for it.
    """

    pictures: Pictures
    ranker: Ranker
    source: str
    held_out: float
    people_seed: int
    components: Components = field(metadata=INCIDENTAL, repr=False)

    @property
    def key(self) -> dict[str, Any]:
        """Also the generator's code, and the gallery if it asks for it."""
        code, factory = code_of(self.source), import_named("system", self.source, SYSTEMS)
        gallery = {"gallery": self.components.gallery_content} if keywords_for(factory, {"gallery": None}) else {}
        return super().key | gallery | ({"code": hash_file(code)} if code else {})

    @property
    def label(self) -> str:
        """What follows the colon."""
        return self.source.rpartition(":")[2]

    @property
    def description(self) -> str:
        """Where the pictures come from."""
        return f"pictures by {self.source}"

    @cached_property
    def generator(self) -> OwnGenerator:
        """The generator.

        Raises:
            ValueError: it cannot be built.
        """
        pictures = self.pictures
        available: dict[str, Callable[[], Any]] = {
            "items": lambda: pictures.items,
            "images": lambda: pictures.images,
            "size": lambda: pictures.size,
            "gallery": lambda: self.components.gallery,
        }
        return load_generator(self.source, available)

    @cached_property
    def people(self) -> People:
        """Users, divided as for RAGAR, so that both are judged on the same ones."""
        return divide(self.ranker.dataset, self.held_out, self.people_seed)

    @property
    def compared(self) -> Mapping[str, Generator]:
        """Nothing beside the controls that every system has."""
        return {}

    @property
    def reconstruct(self) -> Callable[[Sequence[str]], Tensor] | None:
        """No codec is known."""
        return None

    @property
    def masks(self) -> Masks | None:
        """It draws whole pictures; one that asks for the gallery finds the masks there."""
        return None

    @property
    def learned_from_ranker(self) -> bool:
        """No ranker of ours rewarded it."""
        return False

    @property
    def curve_folders(self) -> list[Path]:
        """Nothing is trained."""
        return []

    def batched(self, batch_size: int) -> Generator:
        """The generator as it is: the same request gives the same picture, says the protocol."""
        return self.generator

    def explain(self, requests: Sequence[Request]) -> Sequence[Explanation] | None:
        """It does not say."""
        return None
