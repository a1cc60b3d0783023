"""SD-1.5's UNet class at a small configuration, and the noise schedule that it is trained and sampled with."""

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import nn

from generation.backbone.config import Prediction, UNetConfig
from generation.training import Curves, Resume, Training

Model = TypeVar("Model", bound=nn.Module)


def small_unet(
    *,
    latent_channels: int,
    latent_size: tuple[int, int],
    cross_attention_dim: int,
    widths: Sequence[int],
    generator: torch.Generator,
) -> UNet2DConditionModel:
    """SD-1.5's UNet class at a small configuration, with fresh weights.

    ``addition_embed_type="text"`` lets the pooled condition steer every residual block (palette, brightness), which
    cross-attention alone learns slowly at this size.
    """
    # diffusers initialises weights from the global generator; it is seeded from ours and put back behind.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        return UNet2DConditionModel(
            sample_size=max(latent_size),  # one number; the pipelines are always given height and width
            in_channels=latent_channels,
            out_channels=latent_channels,
            block_out_channels=tuple(widths),
            layers_per_block=1,
            norm_num_groups=16,  # diffusers' 32 does not divide every width that the config allows
            down_block_types=("DownBlock2D",) * (len(widths) - 1) + ("CrossAttnDownBlock2D",),
            up_block_types=("CrossAttnUpBlock2D",) + ("UpBlock2D",) * (len(widths) - 1),
            cross_attention_dim=cross_attention_dim,
            attention_head_dim=4,  # the number of heads: diffusers has the two names confused, and kept it so
            resnet_time_scale_shift="scale_shift",
            addition_embed_type="text",
            addition_embed_type_num_heads=4,
        )


def unet_training(
    model: Model,
    config: UNetConfig,
    *,
    examples: int,
    generator: torch.Generator,
    curves: Curves,
    resume: Resume | None,
    progress: bool,
) -> Training[Model]:
    """The training loop of a UNet, or of what contains one, by the section ``backbone``."""
    return Training(
        "UNet: denoising loss",
        model,
        examples=examples,
        batch_size=config.batch_size,
        steps=config.unet_steps,
        learning_rate=config.learning_rate,
        weight_decay=0.01,
        generator=generator,
        curves=curves,
        average=config.ema,
        resume=resume,
        progress=progress,
    )


def noise_scheduler(prediction: Prediction = "v") -> DDIMScheduler:
    """The schedule that a UNet of this prediction is trained and sampled with, in trailing steps.

    ``v``: cosine betas and zero terminal SNR (Lin et al. 2024): few steps stay unsaturated. ``epsilon``: SD-1.5's
    scaled-linear betas. There the last step still holds 7 % of the picture: the clean latent is read off as
    (x - sigma epsilon) / alpha, which zero terminal SNR would divide by nothing. ``sample``: as ``v``.

    Other schedulers match by ``DPMSolverMultistepScheduler.from_config(scheduler.config)``.
    """
    cosine = {"beta_schedule": "squaredcos_cap_v2", "rescale_betas_zero_snr": True}
    settings: dict[Prediction, dict[str, Any]] = {
        "v": {**cosine, "prediction_type": "v_prediction"},
        "sample": {**cosine, "prediction_type": "sample"},
        "epsilon": {
            "beta_schedule": "scaled_linear",
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "prediction_type": "epsilon",
        },
    }
    return DDIMScheduler(
        **settings[prediction],
        timestep_spacing="trailing",  # sampling begins at the very last step, where zero terminal SNR is
        clip_sample=False,  # diffusers clips to [-1, 1] by default, which latents exceed
        set_alpha_to_one=True,
        steps_offset=1,  # no effect in trailing steps, but the pipelines warn of any other value
    )
