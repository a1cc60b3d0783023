"""The protocol of image encoders: pictures to vectors, differentiable in the picture."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

BLOCK = 256
"""Pictures or texts that are encoded at a time."""


@runtime_checkable
class ImageEncoder(Protocol):
    """Encodes pictures in [0, 1] as feature vectors; gradients flow from features to pictures."""

    name: str
    dim: int

    def encode_images(self, images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n dim"]:
        """Features, one row a picture."""
        ...


@runtime_checkable
class TextEncoder(Protocol):
    """Encodes texts as unit vectors: the dual encoder, or :class:`generation.encoders.sentences.SentenceEncoder`."""

    def encode_texts(self, texts: Sequence[str]) -> Float[Tensor, "n dim"]:
        """Features, one row a text."""
        ...


def encode_in_blocks(encoder: ImageEncoder, images: Tensor, block: int = BLOCK) -> Float[Tensor, "n dim"]:
    """Features of a whole catalogue's pictures (bytes or floats) on the CPU, without gradient, a block at a time."""
    with torch.no_grad():
        # An empty tensor splits into one empty block, which not every model takes.
        features = [
            encoder.encode_images(rows.float() / 255 if rows.dtype == torch.uint8 else rows)
            for rows in images.split(block)
            if len(rows)
        ]
    return torch.cat(features).cpu() if features else torch.empty(0, encoder.dim)
