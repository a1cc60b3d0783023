"""How pictures look in five numbers: a generator that games its reward shows in them before anybody looks.

Brightness, saturation, colour entropy and edge density are measured picture by picture; the share of the commonest
palette is one number for a set of pictures. No random numbers are drawn.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the luma (ITU-R BT.601)."""

ENTROPY_LEVELS = 4
"""Levels of each channel in the histogram whose entropy is taken: 64 colours, at most 6 bits."""

PALETTE_LEVELS = 3
"""Levels of each channel in a palette: 27 colours. Coarse, so that shading and grain make no other palette."""

PALETTE_COLOURS = 2
"""Colours of a palette: the commonest of the picture."""

EDGE = 0.1
"""Change of luma between neighbouring pixels from which a pixel counts as an edge; full contrast is 1."""


def appearance(images: Float[Tensor, "n 3 height width"]) -> Mapping[str, Float[Tensor, " n"]]:
    """Brightness, saturation, colour entropy and edge density of each picture.

    * ``brightness``: mean luma, 0 for black and 1 for white.
    * ``saturation``: mean HSV saturation, (max - min) / max of the channels, 0 for grey.
    * ``colour entropy``: entropy in bits of the histogram of :data:`ENTROPY_LEVELS` levels a channel.
    * ``edge density``: share of pixels whose luma differs by more than :data:`EDGE` from that of the next pixel to the
      right or below.
    """
    luma = torch.einsum("nchw,c->nhw", images, images.new_tensor(LUMA))
    highest, lowest = images.amax(1), images.amin(1)
    # Black has no saturation: 0 / 0 is taken as 0.
    saturation = (highest - lowest) / highest.clamp_min(1e-6)
    # Zeros at the last row and column, which have no next pixel.
    right, below = F.pad(luma.diff(dim=2).abs(), (0, 1)), F.pad(luma.diff(dim=1).abs(), (0, 0, 0, 1))
    return {
        "brightness": luma.mean((1, 2)),
        "saturation": saturation.mean((1, 2)),
        "colour entropy": _entropy(_histograms(images, ENTROPY_LEVELS)),
        "edge density": ((right > EDGE) | (below > EDGE)).to(images).mean((1, 2)),
    }


def palettes(images: Float[Tensor, "n 3 height width"]) -> Int[Tensor, "n colours"]:
    """The palette of each picture: the set of its commonest of 27 coarse colours, whichever is the more common.

    Returns:
        :data:`PALETTE_COLOURS` cells of the colour cube a picture, in ascending order; equal rows are one palette.
    """
    histograms = _histograms(images, PALETTE_LEVELS)
    # A stable sort: of equally common colours the first is taken, on every machine.
    order = histograms.argsort(dim=1, descending=True, stable=True)[:, :PALETTE_COLOURS]
    # A picture of a single colour has a palette of one: it stands for the missing ones too.
    return torch.where(histograms.gather(1, order) > 0, order, order[:, :1]).sort(dim=1).values


def commonest_share(rows: Int[Tensor, "n colours"]) -> float:
    """Share of the pictures that have the commonest of these :func:`palettes`.

    Few pictures have a high share by chance: compare it with that of as many others.

    Raises:
        ValueError: there is no picture.
    """
    if not len(rows):
        raise ValueError("the share of the commonest palette needs at least one picture, got 0")
    return int(rows.unique(dim=0, return_counts=True)[1].max()) / len(rows)


def _histograms(images: Float[Tensor, "n 3 height width"], levels: int) -> Float[Tensor, "n colours"]:
    """Shares of each picture's pixels in ``levels`` ** 3 cells of RGB."""
    channels = (images.detach().clamp(0, 1) * levels).long().clamp_max(levels - 1)  # 1.0 belongs to the last level
    cells: Int[Tensor, "n pixels"] = ((channels[:, 0] * levels + channels[:, 1]) * levels + channels[:, 2]).flatten(1)
    counts = torch.zeros(len(images), levels**3, device=images.device)
    return counts.scatter_add_(1, cells, torch.ones_like(cells, dtype=counts.dtype)) / cells.shape[1]


def _entropy(shares: Float[Tensor, "n colours"]) -> Float[Tensor, " n"]:
    """-sum p log2 p, with 0 log 0 = 0."""
    return -torch.special.xlogy(shares, shares).sum(1) / torch.log(shares.new_tensor(2.0))
