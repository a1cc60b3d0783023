"""Features of a catalogue with other rows of images: what all stages of this kind have in common."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import Tensor

from generation.encoders.encoder import ImageEncoder
from ragar_rec.stages.features import Features
from ragar_rec.stages.stage import Stage
from ragar_rec.store.hashing import digest
from ragar_rec.store.store import content


@dataclass(frozen=True, eq=False)
class ReplacedFeatures(Stage):
    """The features of a catalogue with other rows of images, a table that a subclass writes; the rest is unchanged.

    Attributes:
        features: the items' own.
    """

    features: Features

    @cached_property
    def content(self) -> str:
        """Hash of the new images and of all other tables, which are the features' own."""
        return digest([content(self.folder), self.features.content])

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

    def check_new_pictures(self) -> None:
        """As :meth:`Features.check_new_pictures`."""
        self.features.check_new_pictures()

    @property
    def mean(self) -> Tensor:
        """The mean that new pictures lose, shape (dim,): that of the items' own features."""
        return self.features.mean

    @property
    def whitening(self) -> Tensor | None:
        """As of the items' own features, shape (dim, components)."""
        return self.features.whitening

    def file(self, modality: str) -> Path:
        """The table of one modality."""
        return self.folder / "image.safetensors" if modality == "image" else self.features.file(modality)
