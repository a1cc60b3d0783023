"""The protocol of image encoders: pictures to vectors, differentiable in the picture."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

BLOCK = 256


@runtime_checkable
class ImageEncoder(Protocol):
    """Pictures in [0, 1] to feature vectors; gradients flow from features to pictures."""

    name: str
    dim: int

    def encode_images(self, images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n dim"]:
        """One row of features a picture."""
        ...


@runtime_checkable
class TextEncoder(Protocol):
    """Texts to unit vectors: the dual encoder, or :class:`generation.encoders.sentences.SentenceEncoder`."""

    def encode_texts(self, texts: Sequence[str]) -> Float[Tensor, "n dim"]:
        """One row a text."""
        ...


def encode_in_blocks(encoder: ImageEncoder, images: Tensor, block: int = BLOCK) -> Float[Tensor, "n dim"]:
    """Features of a whole catalogue's pictures (bytes or floats) on the CPU, without gradient, a block at a time."""
    with torch.no_grad():
        parts = [
            encoder.encode_images(part.float() / 255 if part.dtype == torch.uint8 else part)
            for part in images.split(block)
            if len(part)
        ]
    return torch.cat(parts).cpu() if parts else torch.empty(0, encoder.dim)
