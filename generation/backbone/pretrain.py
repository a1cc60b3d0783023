"""Training of the small UNet for the task that the config names, and the error that it is trained to make small."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from generation.backbone.backbone import Backbone
from generation.backbone.config import UNetConfig
from generation.backbone.corruption import as_reference
from generation.backbone.edit_training import edit_error, train_edit
from generation.backbone.image_to_image import denoising_loss, train_image_to_image
from generation.encoders.dual import OpenClipEncoder
from generation.encoders.encoder import ImageEncoder
from generation.training import Curves, Resume


def train_unet(
    captions: Sequence[str],
    images: UInt8[Tensor, "n 3 height width"],
    encoder: OpenClipEncoder,
    config: UNetConfig,
    *,
    curves: Curves,
    visual: ImageEncoder | None = None,
    initial: Backbone | None = None,
    resume: Resume | None = None,
    progress: bool = True,
) -> Backbone:
    """Train a UNet on the frozen dual encoder, from scratch or from an ``initial`` backbone's weights.

    Called again with the same arguments, a training that was stopped goes on from the file of ``resume`` and ends at
    the same bits; the caller deletes that file when it has the result. ``visual``: see :func:`train_edit`.

    Raises:
        ValueError: an initial backbone is given for another task than ``edit``.
    """
    if config.task == "edit":
        return train_edit(
            captions,
            images,
            encoder,
            config,
            curves=curves,
            visual=visual,
            initial=initial,
            resume=resume,
            progress=progress,
        )
    if initial is not None:
        raise ValueError(f"backbone.task {config.task} begins from scratch alone: write backbone.start: scratch")
    return train_image_to_image(captions, images, encoder, config, curves=curves, resume=resume, progress=progress)


def denoising_error(
    backbone: Backbone,
    images: Float[Tensor, "n 3 height width"],
    condition: Float[Tensor, "n rows dim"],
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    """How badly any backbone, small or full-size, finds these pictures under this condition; differentiable in it.

    One that edits finds them from themselves in other colours and light (:func:`edit_error`), any other from noisy
    latents alone, every noise level alike. Pictures in [0, 1]; ``generator`` draws the same for equal shapes.
    """
    unet, scheduler = backbone.pipeline.unet, backbone.pipeline.scheduler
    states = backbone.without_picture(condition.to(unet.dtype))
    if not backbone.edits:
        latents = backbone.latents(images)
        return denoising_loss(unet, scheduler, latents, latents, states, generator, gamma=0)
    clean = images * 2 - 1
    # Another palette is another picture's of the batch.
    reference = as_reference(clean, clean.roll(1, 0), generator) / 2 + 0.5
    latents, beside = backbone.latents(images), backbone.reference_latents(reference)
    return edit_error(unet, scheduler, latents, beside, states, generator)
