"""The small models that come with this library: trained on pictures of no catalogue, written in half precision."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from generation.backbone.backbone import Backbone
from generation.backbone.config import SCRATCH, PretrainConfig
from generation.backbone.dual_encoder import train_dual_encoder
from generation.backbone.pretrain import train_unet
from generation.encoders.dual import OpenClipEncoder
from generation.training import Curves, Resume
from generation.words.captions import PaletteCaptioner
from ragar_rec.small_models import BACKBONE, ENCODER
from ragar_rec.studies.package_pictures import joined, procedural, rendered_covers, stickers

UNROUNDED = "encoder.float32"
"""The dual encoder in full precision, while the UNet is trained on it."""
SAVE_EVERY = 200
"""Steps after which a stopped training can go on."""


@dataclass(frozen=True)
class PackageSettings:
    """What the shipped models were made with."""

    covers: int = 6000
    """Rendered covers."""
    procedural: int = 5000
    """Procedural pictures."""
    style: str = "noto"
    """Style of the stickers, which must be licensed for this."""
    encoder_steps: int = 800
    """Of the dual encoder, 128 pictures each."""
    unet_steps: int = 5000
    """Of the UNet, 32 pictures each."""
    seed: int = 15
    """Of the pictures; the trainings have seed 0."""


def make_package(stickers_folder: Path, output: Path, settings: PackageSettings, *, progress: bool = True) -> Path:
    """Draw the pictures, train both models and write them; a run that was stopped goes on.

    Args:
        stickers_folder: see :func:`ragar_rec.studies.package_pictures.stickers`.
        output: gets ``encoder/``, ``backbone/``, and, while it lasts, what is unfinished.
        settings: pictures and steps.
        progress: show bars.

    Returns:
        The folder, which ``backbone.start`` takes.
    """
    rng = np.random.default_rng(settings.seed)
    parts = [
        rendered_covers(settings.covers, rng),
        stickers(stickers_folder, settings.style, rng),
        procedural(settings.procedural, rng),
    ]
    pictures = joined(parts)
    captions = PaletteCaptioner()(pictures.items, pictures.images)
    output.mkdir(parents=True, exist_ok=True)
    config = PretrainConfig(start=SCRATCH, encoder_steps=settings.encoder_steps, unet_steps=settings.unet_steps)
    encoder = _encoder(captions, pictures.images, config, output, progress=progress)
    resume = Resume(output / "unet.unfinished", SAVE_EVERY)
    unet = replace(config, batch_size=32, learning_rate=1e-3, ema=0.999)
    backbone = train_unet(captions, pictures.images, encoder, unet, curves=Curves(), resume=resume, progress=progress)
    write_package(encoder, backbone, output)
    resume.delete()
    shutil.rmtree(output / UNROUNDED)
    return output


def _encoder(
    captions: Sequence[str],
    images: UInt8[Tensor, "n 3 height width"],
    config: PretrainConfig,
    output: Path,
    *,
    progress: bool,
) -> OpenClipEncoder:
    """The dual encoder in full precision; kept in ``output`` until the UNet is trained on it, too."""
    finished = output / UNROUNDED
    if not finished.is_dir():
        resume = Resume(output / "encoder.unfinished", SAVE_EVERY)
        encoder = train_dual_encoder(captions, images, config, curves=Curves(), resume=resume, progress=progress)
        encoder.save_pretrained(finished)
        resume.delete()
    return OpenClipEncoder.from_pretrained(finished, name="dual")


def write_package(encoder: OpenClipEncoder, backbone: Backbone, output: Path) -> None:
    """Write both models in half precision; they are read in single precision again."""
    encoder.half().save_pretrained(output / ENCODER)
    backbone.pipeline.to(dtype=torch.float16)
    if backbone.picture_tokens is not None:
        backbone.picture_tokens.half()
    backbone.save_pretrained(output / BACKBONE)
