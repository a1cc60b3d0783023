"""Several image encoders as one: their features side by side."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from generation.encoders.encoder import ImageEncoder


class ConcatenatedEncoder:
    """Features of several image encoders side by side, each at its own scale.

    Args:
        encoders: at least one, in the order of their features.
    """

    def __init__(self, encoders: Sequence[ImageEncoder]) -> None:
        self.encoders = tuple(encoders)
        self.name = "+".join(encoder.name for encoder in encoders)
        self.dims = tuple(encoder.dim for encoder in encoders)
        self.dim = sum(self.dims)

    def encode_images(self, images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n dim"]:
        """Features, one row a picture; differentiable where every encoder is."""
        return torch.cat([encoder.encode_images(images).to(images) for encoder in self.encoders], dim=1)
