"""The linear codec: an area-downsampled base plus principal components of the rest, as a diffusers autoencoder."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTinyOutput
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_utils import ModelMixin
from jaxtyping import Float
from torch import Tensor

BASE_GAIN = 3.0
"""Deviation of the base's channels in the latent, where the other channels have 1.

Image-to-image adds the same noise to every channel: the larger the base, the more of the palette outlasts it.
"""


class LinearCodec(ModelMixin, ConfigMixin):
    """A linear autoencoder behind diffusers' interface: an area-downsampled base plus principal components of the rest.

    ``patch`` x ``patch`` pixels become 3 base channels (their mean colour) and ``latent_channels - 3`` coefficients of
    the residual against the bicubically enlarged base. At small budgets it beats a learned codec by several dB.
    Pictures here are in [-1, 1], as in every diffusers autoencoder.
    """

    basis: Tensor
    shift: Tensor
    spread: Tensor

    # Pipelines read two of these of every autoencoder: `scaling_factor`, and how many `block_out_channels` there are,
    # from which they take the latent's scale, 2 ** (4 - 1) = 8 pixels.
    @register_to_config
    def __init__(
        self,
        patch: int = 8,
        latent_channels: int = 32,
        scaling_factor: float = 1.0,
        block_out_channels: Sequence[int] = (1, 1, 1, 1),
        force_upcast: bool = False,
    ) -> None:
        super().__init__()
        self.patch = patch
        self.register_buffer("basis", torch.zeros(latent_channels - 3, 3 * patch * patch))
        self.register_buffer("shift", torch.zeros(latent_channels))
        self.register_buffer("spread", torch.ones(latent_channels))

    def fit(self, images: Float[Tensor, "n 3 height width"]) -> "LinearCodec":
        """Learn the components and the channels' scales from pictures in [-1, 1]; tens are enough, more is better."""
        base, residual = self._split(images)
        rows = residual.movedim(1, -1).flatten(0, 2)  # (n h w, 3 p p)
        # eigh sorts ascending: the last vectors explain most. No mean is removed, the residual of a patch has none.
        _, vectors = torch.linalg.eigh(rows.T @ rows)
        self.basis.copy_(vectors.flip(1)[:, : len(self.basis)].T)
        raw = torch.cat([base, torch.einsum("kc,nchw->nkhw", self.basis, residual)], dim=1)
        self.shift.copy_(raw.mean((0, 2, 3)))
        # Unit variance: v = alpha e - sigma x and the noisy alpha x + sigma e are then uncorrelated, so a UNet that
        # predicts 0 is the best linear denoiser already. On any other scale it must first learn to copy the noise
        # of every channel, and what it fails to copy stays in the picture as grain.
        self.spread.copy_(raw.std((0, 2, 3)).clamp_min(1e-4))
        # See BASE_GAIN.
        self.spread[:3] /= BASE_GAIN
        return self

    def _split(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Base ``(n, 3, h, w)`` and residual ``(n, 3 p p, h, w)``, a patch's pixels in the channels."""
        base = F.avg_pool2d(images, self.patch)
        # The constant patch of value b has the orthonormal coefficient patch * b: base and rest on one scale.
        return base * self.patch, F.pixel_unshuffle(images - self._enlarge(base), self.patch)

    def _enlarge(self, base: Tensor) -> Tensor:
        """Enlarge bicubically and restore every patch's mean: the residual's is then 0, and coding is a projection."""
        enlarged = F.interpolate(base, scale_factor=self.patch, mode="bicubic", align_corners=False)
        lost_mean = base - F.avg_pool2d(enlarged, self.patch)
        return enlarged + F.interpolate(lost_mean, scale_factor=self.patch, mode="nearest")

    def encode(self, x: Float[Tensor, "n 3 height width"], return_dict: bool = True) -> Any:
        """Latents of shape ``(n, latent_channels, height / patch, width / patch)``."""
        base, residual = self._split(x)
        raw = torch.cat([base, torch.einsum("kc,nchw->nkhw", self.basis, residual)], dim=1)
        latents = (raw - self.shift[:, None, None]) / self.spread[:, None, None]
        return AutoencoderTinyOutput(latents=latents) if return_dict else (latents,)

    def decode(self, z: Float[Tensor, "n channels h w"], generator: Any = None, return_dict: bool = True) -> Any:
        """Pictures in [-1, 1] (values slightly outside are left to the caller's clamp)."""
        raw = z * self.spread[:, None, None] + self.shift[:, None, None]
        residual = torch.einsum("kc,nkhw->nchw", self.basis, raw[:, 3:])
        sample = self._enlarge(raw[:, :3] / self.patch) + F.pixel_shuffle(residual, self.patch)
        return DecoderOutput(sample=sample) if return_dict else (sample,)
