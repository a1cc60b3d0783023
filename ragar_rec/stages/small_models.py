"""The small models that are learned from the catalogue: dual encoder, codec and UNet, and a causal LM."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import cached_property
from pathlib import Path

from generation.backbone.backbone import Backbone
from generation.backbone.config import PretrainConfig
from generation.backbone.dual_encoder import train_dual_encoder
from generation.backbone.pretrain import hold_out, train_unet
from generation.encoders.dual import OpenClipEncoder
from generation.models import TIMM
from generation.ragar.small_language_model import train_language_model
from generation.training import Resume
from ragar_rec.stages.prepared import Prepared
from ragar_rec.store.curves import watched
from ragar_rec.store.hashing import hash_file
from ragar_rec.store.store import content

ENCODER_KEYS = (
    "image_height",
    "image_width",
    "encoder_width",
    "encoder_layers",
    "embed_dim",
    "vocab_size",
    "context",
    "encoder_steps",
    "batch_size",
    "learning_rate",
    "held_out",
    "seed",
)
"""What the dual encoder's training reads of the section ``backbone``."""

BACKBONE_KEYS = tuple(entry.name for entry in fields(PretrainConfig) if entry.name != "save_every")
"""What the UNet's training depends on: all of the section but how often it is kept."""


class SmallModels(Prepared):
    """The stages ``encoder``, ``backbone`` and ``language``, or the weights that the config names in their place."""

    @cached_property
    def encoder_folder(self) -> Path:
        """The dual encoder of pictures and words."""

        def build(to: Path) -> None:
            self._train(to, train_dual_encoder)

        return self.stage(
            "encoder",
            [f"backbone.{key}" for key in ENCODER_KEYS],
            {"pictures": content(self.pictures_folder), **self._said},
            build,
            resumable=True,
        )

    @property
    def learned(self) -> list[int]:
        """Rows of the pictures that dual encoder, codec and UNet learn from."""
        return self._divided[0]

    @property
    def held_out(self) -> list[int]:
        """Rows of the pictures that they do not see (``backbone.held_out``)."""
        return self._divided[1]

    @cached_property
    def _divided(self) -> tuple[list[int], list[int]]:
        have, backbone = self._have, self.config.backbone
        learned, kept = hold_out(len(have), backbone.held_out, backbone.seed)
        return [have[row] for row in learned], [have[row] for row in kept]

    def _train(self, to: Path, train: Callable[..., OpenClipEncoder | Backbone], *given: OpenClipEncoder) -> None:
        """Learn from the pictures, and keep what is unfinished in the stage's folder until it has ended."""
        resume = Resume(to / "unfinished.safetensors", self.config.backbone.save_every)
        with watched(self.output, to) as curves:
            made = train(
                [self.captions[row] for row in self.learned],
                self.images[self.learned],
                *given,
                self.config.backbone,
                curves=curves,
                resume=resume,
                progress=self.progress,
            )
        made.save_pretrained(to)
        resume.delete()

    @cached_property
    def encoder(self) -> OpenClipEncoder:
        source = self.config.models.encoder
        encoder = OpenClipEncoder.from_pretrained(self.encoder_folder if source is None else source, name="dual")
        return encoder.to(self.config.models.device)

    @cached_property
    def backbone_folder(self) -> Path:
        """Codec, text encoder and UNet as a diffusers pipeline."""

        def build(to: Path) -> None:
            self._train(to, train_unet, self.encoder)

        before = {"encoder": content(self.encoder_folder), "pictures": content(self.pictures_folder)}
        return self.stage("backbone", [f"backbone.{key}" for key in BACKBONE_KEYS], before, build, resumable=True)

    @cached_property
    def backbone(self) -> Backbone:
        size = (self.config.backbone.image_height, self.config.backbone.image_width)
        source = self.config.models.backbone
        backbone = Backbone.from_pretrained(self.backbone_folder if source is None else source, size)
        return backbone.to(**self.config.models.place)

    @cached_property
    def language_folder(self) -> Path:
        """The small causal LM."""

        def build(to: Path) -> None:
            texts = [f"{item.text} {said}" for item, said in zip(self.items, self.captions, strict=True)]
            with watched(self.output, to) as curves:
                trained = train_language_model(texts, self.config.language, curves=curves, progress=self.progress)
            for part in trained:
                part.save_pretrained(to)

        return self.stage("language", ["language"], {"pictures": content(self.pictures_folder), **self._said}, build)

    @property
    def small_models(self) -> dict[str, Path]:
        """Folders of the small models; those in whose place the config names weights are not learned."""
        stages = {"encoder": "encoder_folder", "backbone": "backbone_folder", "language": "language_folder"}
        return {
            name: getattr(self, stage) for name, stage in stages.items() if getattr(self.config.models, name) is None
        }

    @cached_property
    def given(self) -> dict[str, str]:
        """Contents of the models that the config names, and how they run."""
        models = self.config.models
        named = {name: getattr(models, name) for name in ("encoder", "backbone", "language")}
        given = {name: self.store.hash_source(source) for name, source in named.items() if source is not None}
        given["visual"] = models.visual
        if models.visual.startswith(TIMM):
            given["visual"] += hash_file(self.weights_file(models.visual.removeprefix(TIMM)))
        return given | {key: str(value) for key, value in models.place.items()}

    def weights_file(self, name: str) -> Path:
        """Where the weights of one of timm's models lie.

        Raises:
            FileNotFoundError: they do not.
        """
        if self.weights is None:
            raise FileNotFoundError(f"{name} needs pretrained weights: name their folder by --weights")
        file = self.weights / name / "model.safetensors"
        if not file.is_file():
            raise FileNotFoundError(f"no weights of {name} at {file}: give the folder that holds {name}/ by --weights")
        return file
