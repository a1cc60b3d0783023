"""The small dual encoder and backbone of a config: those of the package, or trained on the catalogue."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from generation.backbone.config import PACKAGE, PACKAGED, SCRATCH, DualEncoderConfig, UNetConfig
from generation.models import TIMM, ModelsConfig
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
        models: says whose features become rows of pictures.
        workspace: where they are trained.
        pictures: of the catalogue, at the generator's size; asked for when a training needs them.
        captions: of the pictures, likewise.
    """

    config: BackboneConfig
    models: ModelsConfig
    workspace: stages.Workspace
    pictures: Callable[[], stages.Pictures]
    captions: Callable[[], stages.Captions | stages.BlipCaptions]

    def unchanged(self, part: str) -> str | None:
        """The folder of a model that no step is to change; None if it is trained."""
        steps = self.config.encoder_steps if part == ENCODER else self.config.unet_steps
        return None if steps else self._initial(part)

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
            None if self.models.visual == "dual" else self.models.visual.removeprefix(TIMM),
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
        self._check(folder, part)
        return str(folder)

    def _check(self, folder: Path, part: str) -> None:
        """Refuse damaged files, and a shape that is not that of the models where the training begins.

        Raises:
            FileNotFoundError: a configuration is missing.
            ValueError: a file does not read, or keys of the section ask for another shape.
        """
        for file in sorted(folder.rglob("*.safetensors")):
            try:
                with safe_open(file, "np"):  # reads the header, which says how long the file must be
                    pass
            except SafetensorError as error:
                raise ValueError(f"{file} is damaged ({error}): {self._again}") from error
        if part == ENCODER:
            model = _json(folder / "open_clip_config.json")["model_cfg"]
            text, vision = model["text_cfg"], model["vision_cfg"]
            shape = {
                "encoder_width": text["width"],
                "encoder_layers": vision["layers"],
                "embed_dim": model["embed_dim"],
                "context": text["context_length"],
            }
        else:
            unet, rows = (_json(folder / name / "config.json") for name in ("unet", "picture_tokens"))
            shape = {"unet_widths": tuple(unet["block_out_channels"]), "picture_rows": rows["rows"]}
        asked = {name: getattr(self.config, name) for name in shape}
        if wrong := [name for name in shape if asked[name] != shape[name]]:
            has, wants = (", ".join(f"{name} {_shown(of[name])}" for name in wrong) for of in (shape, asked))
            raise ValueError(
                f"backbone.start {self.config.start} has {has}, but the config asks for {wants}: leave these keys "
                f"out, or write backbone.start: {SCRATCH}"
            )

    @property
    def _again(self) -> str:
        """How to get a damaged file again."""
        if self.config.start != PACKAGE:
            return f"copy {self.config.start} again, or write backbone.start: {PACKAGE}"
        return "it came with this library: install it again, or, in a clone of the repository, `git checkout` the file"


def _json(file: Path) -> Any:
    # Not generation.checkpoint's reader, which loads torch: a mistake in the config is said before.
    return json.loads(file.read_text(encoding="utf-8"))


def _shown(value: Any) -> Any:
    """As YAML writes it: a tuple as a list."""
    return list(value) if isinstance(value, tuple) else value
