"""What people see of a picture: its colours, coarsely; linear in the pixels, as the encoder `color_layout` is."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from generation.pictures import to_float
from recsys.whitening import whitening_map

GRID = (3, 2)
"""Rows and columns of the fields whose mean colours are seen: 18 numbers a picture."""

DIM = 4
"""Coordinates that are kept. On the embedded covers they carry 89 % of the variance of the 18 numbers; those of little
variance would weigh as much once they are whitened, and hardly any picture differs in them."""


class Eye:
    """Mean colours of the fields of a grid, whitened over a catalogue: every coordinate has mean 0 and variance 1.

    Differentiable in the pictures, so that the best picture for a taste can be looked for by the gradient.

    Args:
        photos: the catalogue's pictures.
        dim: coordinates that are kept, those of largest variance.

    Raises:
        ValueError: the photos' colours vary in fewer than ``dim`` directions.
    """

    def __init__(self, photos: UInt8[Tensor, "n 3 height width"], dim: int = DIM) -> None:
        # A block at a time: all pictures as floats would take four times their memory.
        colours = torch.cat([_field_colours(to_float(block)) for block in photos.split(256)]).double()
        self.mean = colours.mean(0)
        # `whitening_map` gives rows of mean squared norm 1.
        matrix = whitening_map((colours - self.mean).numpy(), dim) * np.sqrt(dim)
        self.map = torch.from_numpy(matrix).double()

    def __call__(self, images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n dim"]:
        """Coordinates of pictures in [0, 1]."""
        return (_field_colours(images) - self.mean.to(images)) @ self.map.to(images)


def _field_colours(images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n colours"]:
    return F.adaptive_avg_pool2d(images, GRID).flatten(1)
