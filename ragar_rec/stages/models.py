"""The generator's frozen models: weights that the config names, or small ones that are trained on the catalogue."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from generation.backbone.backbone import Backbone
from generation.backbone.config import DualEncoderConfig, UNetConfig
from generation.backbone.dual_encoder import train_dual_encoder
from generation.backbone.pretrain import train_unet
from generation.encoders.dual import OpenClipEncoder
from generation.encoders.timm import TimmEncoder
from generation.language.config import LanguageConfig
from generation.language.small import train_language_model
from generation.settings import INCIDENTAL
from generation.training import Curves, Resume
from ragar_rec.stages.catalogue import Pictures
from ragar_rec.stages.stage import Keyed, Stage
from ragar_rec.stages.weights import Weights
from ragar_rec.stages.words import BlipCaptions, Captions
from ragar_rec.store.curves import recorded_curves


@dataclass(frozen=True, eq=False)
class _Training(Stage):
    """A small model that is trained on the catalogue's pictures and captions; a stopped training goes on."""

    resumable: ClassVar[bool] = True
    pictures: Pictures
    captions: Captions | BlipCaptions
    settings: DualEncoderConfig
    save_every: int = field(metadata=INCIDENTAL)
    initial: Weights | None

    @property
    def path(self) -> Path:
        """What ``from_pretrained`` takes."""
        return self.folder

    @cached_property
    def rows(self) -> list[int]:
        """Rows of the pictures that the model learns from."""
        return self.pictures.divided(self.settings.held_out, self.settings.seed)[0]

    @cached_property
    def held_out_rows(self) -> list[int]:
        """Rows of the pictures that the model does not see."""
        return self.pictures.divided(self.settings.held_out, self.settings.seed)[1]

    def train(self, captions: list[str], images: Any, curves: Curves, resume: Resume) -> Any:
        """The trained model."""
        raise NotImplementedError

    def build(self, to: Path) -> None:
        resume = Resume(to / "unfinished.safetensors", self.save_every)
        with recorded_curves(self.workspace.output, to) as curves:
            captions = [self.captions.texts[row] for row in self.rows]
            model = self.train(captions, self.pictures.images[self.rows], curves, resume)
        model.save_pretrained(to)
        resume.delete()


@dataclass(frozen=True, eq=False)
class DualEncoderTraining(_Training):
    """The small dual encoder of pictures and words."""

    name: ClassVar[str] = "encoder"

    def train(self, captions: list[str], images: Any, curves: Curves, resume: Resume) -> OpenClipEncoder:
        initial = None
        if self.initial is not None:
            initial = OpenClipEncoder.from_pretrained(self.initial.path, name="dual")
        return train_dual_encoder(
            captions,
            images,
            self.settings,
            curves=curves,
            initial=initial,
            resume=resume,
            progress=self.workspace.progress,
        )


@dataclass(frozen=True, eq=False)
class UNetTraining(_Training):
    """The small backbone: codec, text encoder and UNet as a diffusers pipeline."""

    name: ClassVar[str] = "backbone"
    settings: UNetConfig
    encoder: DualEncoder
    visual: str | None = None
    """The model of timm's whose features become rows of pictures; None: the dual encoder."""

    @property
    def key(self) -> dict[str, Any]:
        """Also what a UNet that edits is, and learns from: before 2026-11-29 it had no rows of the reference."""
        return super().key | ({"editor": "thumbnail"} if self.settings.task == "edit" else {})

    def train(self, captions: list[str], images: Any, curves: Curves, resume: Resume) -> Backbone:
        return train_unet(
            captions,
            images,
            self.encoder.model,
            self.settings,
            curves=curves,
            visual=None if self.visual is None else self._timm(self.visual),
            initial=None if self.initial is None else Backbone.from_pretrained(self.initial.path, self.pictures.size),
            resume=resume,
            progress=self.workspace.progress,
        )

    def _timm(self, name: str) -> TimmEncoder:
        return TimmEncoder.from_pretrained(name, self.workspace.weights_file(name).parents[1], size=None)


@dataclass(frozen=True, eq=False)
class LanguageTraining(Stage):
    """The small causal language model, trained on the catalogue's texts and captions."""

    name: ClassVar[str] = "language"
    pictures: Pictures
    captions: Captions | BlipCaptions
    settings: LanguageConfig

    @property
    def path(self) -> Path:
        """What ``from_pretrained`` takes."""
        return self.folder

    def build(self, to: Path) -> None:
        pairs = zip(self.pictures.items, self.captions.texts, strict=True)
        texts = [f"{item.text} {caption}" for item, caption in pairs]
        with recorded_curves(self.workspace.output, to) as curves:
            trained = train_language_model(texts, self.settings, curves=curves, progress=self.workspace.progress)
        for part in trained:
            part.save_pretrained(to)


@dataclass(frozen=True, eq=False)
class DualEncoder(Keyed):
    """The dual encoder of pictures and words, loaded where the config says."""

    weights: Weights | DualEncoderTraining
    device: str = field(metadata=INCIDENTAL)

    @property
    def model(self) -> OpenClipEncoder:
        """The loaded encoder. It cannot be set: features by another would stand under this one's key."""
        return self._model

    @cached_property
    def _model(self) -> OpenClipEncoder:
        return OpenClipEncoder.from_pretrained(self.weights.path, name="dual").to(self.device)
