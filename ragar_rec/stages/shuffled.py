"""Features whose pictures are shuffled among the items: the control for what pictures say of their items."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ragar_rec.stages.item_sets import CatalogueItems
from ragar_rec.stages.replaced import ReplacedFeatures
from recsys.features import FeatureTable


@dataclass(frozen=True, eq=False)
class ShuffledFeatures(ReplacedFeatures):
    """The features of a catalogue with the rows of images given to other items; the other modalities are unchanged.

    Attributes:
        features: the items' own.
        seed: of the permutation.
    """

    name: ClassVar[str] = "shuffled-features"
    seed: int

    def build(self, to: Path) -> None:
        table = FeatureTable.read(self.features.file("image"))
        table.permuted(self.seed, among=self.shuffled).write(to / "image.safetensors")

    @property
    def shuffled(self) -> Collection[str] | None:
        """Ids of the items whose pictures are shuffled; None for all."""
        return None


@dataclass(frozen=True, eq=False)
class PartlyShuffledFeatures(ShuffledFeatures):
    """As :class:`ShuffledFeatures`, with the pictures of some items shuffled among these alone."""

    items: CatalogueItems

    @property
    def shuffled(self) -> Collection[str]:
        return self.items.ids
