"""The forward process: clean latents made noisy at a timestep, and what the UNet should predict of them."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from generation.backbone.backbone import Backbone
from generation.backbone.config import SamplingConfig
from generation.precision import to_single_precision


def visited_timesteps(backbone: Backbone, sampling: SamplingConfig) -> Int[Tensor, " steps"]:
    """The timesteps at which sampling asks the UNet; what it says at any other changes no picture."""
    # A scheduler of its own: the pipeline's is left as the last sampling set it.
    scheduler: Any = type(backbone.pipeline.scheduler).from_config(backbone.pipeline.scheduler.config)
    strength = None if sampling.text_to_image else sampling.strength
    scheduler.set_timesteps(backbone.inference_steps(sampling.steps, strength))
    # Image-to-image skips the first ones.
    return scheduler.timesteps[-sampling.steps :].long()


def noised(
    scheduler: Any,
    clean: Float[Tensor, "n channels h w"],
    timesteps: Int[Tensor, " n"],
    noise: Float[Tensor, "n channels h w"],
) -> tuple[Float[Tensor, "n channels h w"], Float[Tensor, "n channels h w"]]:
    """Noisy latents, and what the scheduler's configuration says that the UNet predicts: clean latent, noise, or v."""
    # Not by the scheduler's add_noise: some can only add the noise of a timestep that they were set to.
    share = scheduler.alphas_cumprod.to(clean)[timesteps.to(clean.device)].view(-1, 1, 1, 1)
    alpha, sigma = share.sqrt(), (1 - share).sqrt()
    targets = {"sample": clean, "epsilon": noise, "v_prediction": alpha * noise - sigma * clean}
    return alpha * clean + sigma * noise, targets[scheduler.config["prediction_type"]]


def predict_noisy(
    backbone: Backbone,
    clean: Float[Tensor, "n channels h w"],
    references: Float[Tensor, "n 3 height width"],
    condition: Float[Tensor, "n rows width"],
    timesteps: Int[Tensor, " n"],
    noise: Float[Tensor, "n channels h w"],
) -> tuple[Float[Tensor, "n channels h w"], Float[Tensor, "n channels h w"]]:
    """What the UNet predicts of noisy latents, and what would be right: the clean latent, the noise, or v.

    Args:
        backbone: draws from references, or edits them.
        clean: the codec's latents of pictures, in its scale.
        references: seen by a UNet that edits.
        condition: all rows; the prediction carries its gradient.
        timesteps: of the noise.
        noise: standard normal.
    """
    pipeline: Any = backbone.pipeline
    noisy, target = noised(pipeline.scheduler, clean, timesteps, noise)
    if backbone.edits:
        noisy = torch.cat([noisy, backbone.reference_latents(references)], dim=1)
    dtype, t = pipeline.unet.dtype, timesteps.to(clean.device)
    predicted = pipeline.unet(noisy.to(dtype), t, encoder_hidden_states=condition.to(dtype)).sample
    return to_single_precision(predicted), target
