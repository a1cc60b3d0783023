"""The small dual encoder and backbone of a config: those of the package, or trained on the catalogue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from generation.backbone.config import PACKAGE, SCRATCH, DualEncoderConfig, UNetConfig
from generation.backbone.loading import PACKAGED
from ragar_rec import stages
from ragar_rec.config.schema import narrowed
from ragar_rec.config.sections import BackboneConfig

ENCODER, BACKBONE = "encoder", "backbone"
"""Folders of the two models where a training begins."""


@dataclass(frozen=True)
class SmallModels:
    """The section ``backbone`` as stages.

    Attributes:
        config: the section.
        workspace: where they are trained.
        pictures: of the catalogue, at the generator's size; asked for when a training needs them.
        captions: of the pictures, likewise.
    """

    config: BackboneConfig
    workspace: stages.Workspace
    pictures: Callable[[], stages.Pictures]
    captions: Callable[[], stages.Captions | stages.BlipCaptions]

    def unchanged(self, part: str) -> str | None:
        """The folder of a model that no step is to change; None if it is trained."""
        steps = self.config.encoder_steps if part == ENCODER else self.config.unet_steps
        initial = self._initial(part)
        return initial if initial is not None and steps == 0 else None

    def encoder(self) -> stages.DualEncoderTraining:
        """The dual encoder's training."""
        settings = narrowed(DualEncoderConfig, self.config.framed(self.pictures().size))
        return stages.DualEncoderTraining(
            self.workspace, self.pictures(), self.captions(), settings, self.config.save_every, self._weights(ENCODER)
        )

    def backbone(self, encoder: stages.DualEncoder) -> stages.UNetTraining:
        """The UNet's training, on the words and features of a dual encoder."""
        settings = narrowed(UNetConfig, self.config.framed(self.pictures().size))
        return stages.UNetTraining(
            self.workspace,
            self.pictures(),
            self.captions(),
            settings,
            self.config.save_every,
            self._weights(BACKBONE),
            encoder,
        )

    def _weights(self, part: str) -> stages.Weights | None:
        initial = self._initial(part)
        return None if initial is None else stages.Weights(self.workspace, initial)

    def _initial(self, part: str) -> str | None:
        """Where a model begins; None from scratch.

        Raises:
            FileNotFoundError: the folder that the config names has no such model.
        """
        if self.config.start == SCRATCH:
            return None
        folder = (PACKAGED if self.config.start == PACKAGE else Path(self.config.start)) / part
        if not folder.is_dir():
            raise FileNotFoundError(
                f"backbone.start {self.config.start}: there is no {folder}; it is {PACKAGE}, {SCRATCH}, or a folder "
                f"that holds {ENCODER}/ and {BACKBONE}/"
            )
        return str(folder)
