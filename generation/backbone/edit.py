"""The small backbone that edits: a UNet that sees the reference beside the noise and says how its colours change.

Brooks et al. 2023 (InstructPix2Pix) concatenate the reference's latent to the noisy one; here both are pixels. The
clean picture is predicted as the reference plus a change, a transform of the reference's own colours that varies slowly
over the picture (Gharbi et al. 2017, "deep bilateral learning"): letters and faces pass through unharmed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTinyOutput
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel, UNet2DConditionOutput
from jaxtyping import Float
from torch import Tensor, nn

from generation.backbone.dual_encoder import THUMBNAIL

PATCH = 8
"""Pixels a side of the patches that the small backbone sees as one place."""
CURVES = 7
"""Terms of each channel's colour transform: the three channels, their squares, and a constant."""


class PatchCodec(ModelMixin, ConfigMixin):
    """Pixels in patches behind diffusers' interface of an autoencoder: nothing is learned, and nothing is lost.

    ``patch`` x ``patch`` pixels of 3 channels become ``3 * patch ** 2`` channels. Pictures are in [-1, 1].
    """

    # Pipelines take the latent's scale, 2 ** (4 - 1) = 8 pixels, from the number of `block_out_channels`.
    @register_to_config
    def __init__(
        self,
        patch: int = PATCH,
        latent_channels: int = 192,
        scaling_factor: float = 1.0,
        block_out_channels: Sequence[int] = (1, 1, 1, 1),
        force_upcast: bool = False,
    ) -> None:
        super().__init__()
        self.patch = patch
        # Pipelines ask an autoencoder for its precision and device, which diffusers reads off a tensor.
        self.register_buffer("place", torch.zeros(1))

    def encode(self, x: Float[Tensor, "n 3 height width"], return_dict: bool = True) -> Any:
        """Latents of shape ``(n, 3 patch², height / patch, width / patch)``."""
        latents = F.pixel_unshuffle(x, self.patch)
        return AutoencoderTinyOutput(latents=latents) if return_dict else (latents,)

    def decode(self, z: Float[Tensor, "n channels h w"], generator: Any = None, return_dict: bool = True) -> Any:
        """Pictures in [-1, 1] (values slightly outside are left to the caller's clamp)."""
        sample = F.pixel_shuffle(z, self.patch)
        return DecoderOutput(sample=sample) if return_dict else (sample,)


class EditUNet(UNet2DConditionModel):
    """SD-1.5's UNet class on ``[noisy, reference]``, which predicts the clean picture as the reference plus a change.

    Its output holds, for each patch, 21 coefficients of a colour transform, enlarged smoothly to the pixels: each
    channel's change is a linear function of the reference's channels, their squares and 1 at that pixel. They are
    zeros at first: an untrained network gives back the reference. It draws no pixels of its own: pixels that were
    predicted patch by patch showed as faint soft lines.

    Beside the condition's rows it attends to rows of its own, a linear layer of the reference's thumbnail, which is
    what a picture's feature knows: where both say the same, nothing is to be changed.

    ``addition_embed_type="text"`` lets the pooled condition steer every residual block, as in
    :func:`generation.backbone.unet.small_unet`.

    Args:
        patch: pixels a side.
        sample_size: the larger side of a picture in patches; diffusers wants a number, any size is taken.
        cross_attention_dim: width of the condition's rows.
        block_out_channels: channels of each level, multiples of 16; the lowest has attention.
        reference_rows: rows of the reference's thumbnail; 0: none, as UNets saved before there were any.
    """

    @register_to_config
    def __init__(
        self,
        patch: int = PATCH,
        sample_size: int = 12,
        cross_attention_dim: int = 128,
        block_out_channels: Sequence[int] = (64, 128),
        reference_rows: int = 0,
    ) -> None:
        pixels, deeper = 3 * patch**2, len(block_out_channels) - 1
        super().__init__(
            sample_size=sample_size,
            in_channels=2 * pixels,
            out_channels=3 * CURVES,
            block_out_channels=tuple(block_out_channels),
            layers_per_block=1,
            norm_num_groups=16,  # diffusers' 32 does not divide every width that the config allows
            down_block_types=("DownBlock2D",) * deeper + ("CrossAttnDownBlock2D",),
            up_block_types=("CrossAttnUpBlock2D",) + ("UpBlock2D",) * deeper,
            cross_attention_dim=cross_attention_dim,
            attention_head_dim=4,  # the number of heads: diffusers has the two names confused, and kept it so
            resnet_time_scale_shift="scale_shift",
            addition_embed_type="text",
            addition_embed_type_num_heads=4,
        )
        self.patch = patch
        places = 3 * THUMBNAIL[0] * THUMBNAIL[1]
        self.seen = nn.Linear(places, reference_rows * cross_attention_dim) if reference_rows else None
        for parameter in self.conv_out.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        encoder_hidden_states: Tensor,
        *args: Any,
        return_dict: bool = True,
        **kwargs: Any,
    ) -> Any:
        """The clean picture's patches; ``sample`` holds the noisy ones and, behind them, the reference's."""
        reference = F.pixel_shuffle(sample[:, sample.shape[1] // 2 :], self.patch)
        rows = encoder_hidden_states
        if self.seen is not None:
            seen = self.seen(F.adaptive_avg_pool2d(reference, THUMBNAIL).flatten(1))
            rows = torch.cat([rows, seen.unflatten(1, (-1, rows.shape[2]))], dim=1)
        output = super().forward(sample, timestep, rows, *args, return_dict=False, **kwargs)[0]
        clean = F.pixel_unshuffle(reference + colour_change(output, reference), self.patch)
        return UNet2DConditionOutput(sample=clean) if return_dict else (clean,)


def colour_change(
    coefficients: Float[Tensor, "n 21 h w"], reference: Float[Tensor, "n 3 height width"]
) -> Float[Tensor, "n 3 height width"]:
    """A transform of each pixel's colours whose coefficients vary smoothly from patch to patch.

    Each channel's change is ``a r + b g + c b + d r^2 + e g^2 + f b^2 + o``, seven coefficients a channel.
    """
    # Neighbours are averaged first: bilinear enlargement alone shows the patches as a faint grid of creases.
    padded = F.pad(coefficients, (1, 1, 1, 1), mode="replicate")
    smooth = F.avg_pool2d(F.avg_pool2d(padded, 2, 1), 2, 1)
    enlarged = F.interpolate(smooth, size=reference.shape[-2:], mode="bilinear", align_corners=False)
    terms = torch.cat([reference, reference**2, torch.ones_like(reference[:, :1])], dim=1)
    return (enlarged.unflatten(1, (3, CURVES)) * terms[:, None]).sum(2)


class PictureTokens(ModelMixin, ConfigMixin):
    """Rows of the condition made of a picture's feature, as IP-Adapter's projection does (Ye et al. 2023).

    Args:
        dim: width of the features.
        rows: rows a picture.
        width: of the condition's rows.
    """

    mean: Tensor
    spread: Tensor

    @register_to_config
    def __init__(self, dim: int = 64, rows: int = 8, width: int = 128) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("spread", torch.ones(1))
        self.project = nn.Linear(dim, rows * width)
        self.dim, self.rows = dim, rows

    def fit(self, features: Float[Tensor, "n dim"]) -> PictureTokens:
        """Take the features' mean, and their deviation as unit: features of length 1 vary by hundredths."""
        self.mean.copy_(features.mean(0))
        self.spread.copy_((features - self.mean).square().mean().sqrt().clamp_min(1e-4))
        return self

    def forward(self, features: Float[Tensor, "n dim"]) -> Float[Tensor, "n rows width"]:
        """Rows for each feature; the mean feature gives those of no picture in particular."""
        return self.project(self.scaled(features)).unflatten(1, (self.rows, -1))

    @property
    def none(self) -> Float[Tensor, "1 rows width"]:
        """Rows of no picture in particular."""
        return self(self.mean[None])

    def scaled(self, features: Float[Tensor, "n dim"]) -> Float[Tensor, "n dim"]:
        """Features without the mean, in units of their deviation."""
        return (features - self.mean) / self.spread
