"""The door to CLIP's picture tower in transformers: the image encoder that IP-Adapters were trained on."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from transformers import CLIPVisionModelWithProjection
from transformers.utils.constants import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from generation.checkpoint import reading_weights, require

EXAMPLE = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
"""Named in the message about a folder that is not there."""


class ClipVisionEncoder(nn.Module):
    """CLIP's picture tower with its projection, frozen: embeddings as they are, not brought to length 1.

    Args:
        model: whose weights are frozen.
    """

    model: Any
    shift: Tensor
    scale: Tensor
    name = "ip-adapter"

    def __init__(self, model: CLIPVisionModelWithProjection) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("shift", torch.tensor(OPENAI_CLIP_MEAN).view(-1, 1, 1))
        self.register_buffer("scale", torch.tensor(OPENAI_CLIP_STD).view(-1, 1, 1))
        config: Any = model.config
        self.dim, self.size = int(config.projection_dim), (config.image_size, config.image_size)
        self.eval().requires_grad_(False)

    @classmethod
    def from_pretrained(cls, folder: Path) -> "ClipVisionEncoder":
        """Read a folder of ``config.json`` and safetensors, such as ``models/image_encoder`` of h94/IP-Adapter.

        Raises:
            FileNotFoundError: it is not there, or lacks a file.
            ValueError: its weights are pickled, or do not read.
        """
        with reading_weights("CLIP image encoder", folder, example=EXAMPLE, check=_require):
            return cls(CLIPVisionModelWithProjection.from_pretrained(folder, dtype=torch.float32, use_safetensors=True))

    def encode_images(self, images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n dim"]:
        """Embeddings, differentiable in the pictures, which are resized to the tower's square."""
        images = images.to(self.shift)
        if images.shape[-2:] != self.size:
            images = F.interpolate(images, size=self.size, mode="bicubic", antialias=True, align_corners=False)
        return self.model(pixel_values=(images - self.shift) / self.scale).image_embeds


def _require(folder: Path) -> None:
    require(folder, "config.json", "*.safetensors")
