"""Features whose pictures are shuffled among the items: the control for what pictures say of their items."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from generation.encoders.encoder import ImageEncoder
from ragar_rec.stages.features import Features
from ragar_rec.stages.stage import Stage
from ragar_rec.store.hashing import digest
from ragar_rec.store.store import content
from recsys.features import FeatureTable


@dataclass(frozen=True, eq=False)
class ShuffledFeatures(Stage):
    """The features of a catalogue with the rows of images given to other items; the other modalities are unchanged.

    Attributes:
        features: the items' own.
        seed: of the permutation.
    """

    name: ClassVar[str] = "shuffled-features"
    features: Features
    seed: int

    @cached_property
    def content(self) -> str:
        """Hash of the shuffled images and of all other tables, which are the features' own."""
        return digest([content(self.folder), self.features.content])

    def build(self, to: Path) -> None:
        FeatureTable.read(self.features.file("image")).permuted(self.seed).write(to / "image.safetensors")

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities' names."""
        return self.features.modalities

    @property
    def encoder(self) -> ImageEncoder:
        """The encoder of the items' own pictures.

        Raises:
            ValueError: see :attr:`Features.encoder`.
        """
        return self.features.encoder

    @property
    def mean(self) -> Tensor:
        """As of the items' own features, shape (dim,)."""
        return self.features.mean

    @property
    def whitening(self) -> Tensor | None:
        """As of the items' own features, shape (dim, components)."""
        return self.features.whitening

    def file(self, modality: str) -> Path:
        """The table of one modality."""
        return self.folder / "image.safetensors" if modality == "image" else self.features.file(modality)
