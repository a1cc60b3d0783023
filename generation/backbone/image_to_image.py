"""Training of the small UNet for image-to-image on the codec's latents, conditioned on the text tower's states."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor

from generation.backbone.backbone import Backbone, DDIMScheduler, UNet2DConditionModel
from generation.backbone.codec import LinearCodec
from generation.backbone.config import UNetConfig
from generation.backbone.corruption import recolour
from generation.backbone.paraphrase import condition
from generation.backbone.unet import noise_scheduler, small_unet, unet_training
from generation.encoders.dual import OpenClipEncoder
from generation.encoders.text_tower import clip_text_model
from generation.pictures import to_float
from generation.precision import to_single_precision
from generation.training import Curves, Resume

RECOLOURED_FROM = 0.4
"""sigma/alpha from which on the colours of a noisy latent may be wholly another picture's.

Image-to-image of strength 1/4 begins there: already at that strength the palette is the condition's, and most of the
shapes are the reference's.
"""
CODEC_PICTURES = 2000
"""Most pictures that the codec is fitted to: their patches are enough for a covariance of 192 x 192."""


def denoising_loss(
    unet: UNet2DConditionModel,
    scheduler: DDIMScheduler,
    clean: Tensor,
    recoloured: Tensor,
    text_states: Tensor,
    generator: torch.Generator,
    *,
    gamma: float = 5.0,
) -> Tensor:
    """Squared error of the UNet's prediction, which must also take the palette from the condition.

    The noisy input is made from a *recoloured* latent, the target from the true one: image-to-image starts from a
    reference whose colours are not those that are wanted, so the model must learn to take colour from the condition and
    shape from the input. A DDIM trajectory shrinks a wrong start in proportion to sigma/alpha, so the recolouring is
    scaled by min(1, sigma / (alpha * RECOLOURED_FROM)): the start of a trajectory that begins there may be wholly
    recoloured. With ``recoloured`` equal to ``clean`` this is the usual loss. The target is the v or the epsilon that
    leads from the noisy latent to the clean one.

    Args:
        unet: predicts v or epsilon, as the scheduler's configuration says.
        scheduler: the noise schedule.
        clean: latents of the pictures, shape ``(n, channels, h, w)``.
        recoloured: latents of the same pictures in other colours.
        text_states: the condition, shape ``(n, rows, width)``, in the precision of the UNet.
        generator: of timesteps, noise and shares of recolouring, drawn in this order.
        gamma: min-SNR weights (Hang et al. 2023), min(SNR, gamma) / (SNR + 1) for v and min(SNR, gamma) / SNR for
            epsilon: both weigh the error of the clean latent by min(SNR, gamma). 0 weighs every step alike.
    """
    alpha_bar = scheduler.alphas_cumprod.cpu()
    t = torch.randint(0, len(alpha_bar), (len(clean),), generator=generator)
    alpha, sigma = (value.sqrt()[:, None, None, None].to(clean) for value in (alpha_bar[t], 1 - alpha_bar[t]))
    # Drawn on the CPU whatever the device: the same seed gives the same noise on every machine.
    noise = torch.randn(clean.shape, generator=generator).to(clean)
    # zero terminal SNR: alpha is 0 at the last step, hence the floor under the divisor
    most = (sigma / alpha.clamp_min(1e-4) / RECOLOURED_FROM).clamp(max=1)
    share = torch.rand(len(clean), 1, 1, 1, generator=generator).to(clean) * most
    start = clean + share * (recoloured - clean)
    noisy = alpha * start + sigma * noise
    predicted = unet(noisy.to(text_states.dtype), t.to(clean.device), encoder_hidden_states=text_states).sample
    predicted = to_single_precision(predicted)
    predicts_v = scheduler.config["prediction_type"] == "v_prediction"
    # Solved for the clean latent and not taken from the noise, which would lead back to the recoloured start.
    target = (alpha * noisy - clean if predicts_v else noisy - alpha * clean) / sigma.clamp_min(1e-3)
    if not gamma:
        return F.mse_loss(predicted, target)
    snr = (alpha / sigma.clamp_min(1e-3)) ** 2
    weight = snr.clamp(max=gamma) / (snr + 1 if predicts_v else snr)
    # zero terminal SNR gives weight 0 at the last step, where v is all there is to learn from: not below .05
    return (weight.clamp_min(0.05) * (predicted - target) ** 2).mean()


def train_image_to_image(
    captions: Sequence[str],
    images: UInt8[Tensor, "n 3 height width"],
    encoder: OpenClipEncoder,
    config: UNetConfig,
    *,
    curves: Curves,
    resume: Resume | None = None,
    progress: bool = True,
) -> Backbone:
    """Fit the codec by principal components, then train the UNet on the frozen text encoder's states, with an EMA.

    Called again with the same arguments, a training that was stopped goes on from the file of ``resume`` and ends at
    the same bits; the caller deletes that file when it has the result.
    """
    # Not the dual encoder's seed: the two trainings draw independently.
    generator = torch.Generator().manual_seed(config.seed + 1)
    codec = fit_codec(images, config.latent_channels, generator)
    text_encoder, tokenizer = clip_text_model(encoder), encoder.tokenizer.tokenizer
    unet = small_unet(
        latent_channels=config.latent_channels,
        latent_size=(config.image_height // 8, config.image_width // 8),
        cross_attention_dim=config.encoder_width,
        widths=config.unet_widths,
        generator=generator,
    )
    scheduler = noise_scheduler(config.prediction)
    training = unet_training(
        unet, config, examples=len(captions), generator=generator, curves=curves, resume=resume, progress=progress
    )
    for rows in training:
        # The order of the draws is part of the result: other pictures, captions, colours, then those of the loss.
        clean = to_float(images[rows]) * 2 - 1
        others = to_float(images[torch.randint(len(images), (len(rows),), generator=generator)]) * 2 - 1
        indices: list[int] = rows.tolist()
        text_states = condition([captions[i] for i in indices], text_encoder, tokenizer, generator)
        latents, recoloured = codec.encode(clean).latents, codec.encode(recolour(clean, others, generator)).latents
        training.update(
            denoising_loss(unet, scheduler, latents, recoloured, text_states, generator, gamma=config.min_snr)
        )
    return Backbone.assemble(
        codec=codec,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=training.average,
        scheduler=scheduler,
        size=(config.image_height, config.image_width),
    )


def fit_codec(
    images: UInt8[Tensor, "n 3 height width"], latent_channels: int, generator: torch.Generator
) -> LinearCodec:
    """The linear codec of a random sample of the pictures."""
    sample = images[torch.randperm(len(images), generator=generator)[:CODEC_PICTURES]]
    return LinearCodec(latent_channels=latent_channels).fit(to_float(sample) * 2 - 1)
