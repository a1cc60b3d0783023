"""The door to scikit-image: an image encoder without weights, from edges and colours alone."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from skimage.color import rgb2hsv
from skimage.feature import hog
from torch import Tensor

ORIENTATIONS, CELLS, BLOCK = 9, 4, 2
"""Directions of an edge within half a turn, cells along each side of a picture, cells along each side of a block."""
COLOURS = (8, 4, 4)
"""Bins of hue, saturation and value."""


class HogEncoder:
    """Histograms of oriented gradients (Dalal & Triggs 2005) beside a joint histogram of hue, saturation and value.

    Nothing in it is trained: a judge that shares no weight with the encoder from whose features a generator's reward is
    computed.

    * Edges: each colour channel's gradient where it is largest, 9 directions over half a turn (bin b holds 20 b to
      20 b + 20 degrees, 0 is a vertical edge), 4 x 4 cells, overlapping blocks of 2 x 2 cells normalised by L2-Hys.
    * Colours: shares of the pixels in 8 x 4 x 4 bins, square roots taken, so that cosines of them are Bhattacharyya
      coefficients. Hue bins are centred on pure red.

    Both halves are brought to length sqrt(1/2), so that the cosine of two pictures is the mean of the cosines of
    their edges and of their colours. A picture without any edge has zeros for its edges.

    Args:
        size: (height, width) in pixels at which it sees every picture, multiples of 4.

    Raises:
        ValueError: the size does not divide into 4 x 4 cells.
    """

    name = "hog"
    dim = (CELLS - BLOCK + 1) ** 2 * BLOCK**2 * ORIENTATIONS + math.prod(COLOURS)

    def __init__(self, size: tuple[int, int] = (192, 128)) -> None:
        if size[0] % CELLS or size[1] % CELLS or min(size) < CELLS:
            raise ValueError(
                f"hog sees pictures as {CELLS} x {CELLS} cells: height and width must be multiples of {CELLS}, "
                f"got {size[0]} x {size[1]}"
            )
        self.size = size

    def encode_images(self, images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n dim"]:
        """Features of RGB pictures in [0, 1], resized bilinearly; the same for the same pixels, and without gradient.

        Raises:
            NotImplementedError: a gradient is asked for.
        """
        if images.requires_grad and torch.is_grad_enabled():
            raise NotImplementedError("hog features have no gradient: take image_encoder dual, or score without one")
        if images.shape[-2:] != self.size:
            images = F.interpolate(images, size=self.size, mode="bilinear", antialias=True, align_corners=False)
        pictures = images.detach().clamp(0, 1).movedim(1, -1).float().cpu().numpy()  # (n, height, width, 3)
        rows = [np.concatenate([_normalize(edges(picture)), _normalize(colours(picture))]) for picture in pictures]
        features = np.stack(rows) if rows else np.empty((0, self.dim))
        return torch.from_numpy(features * math.sqrt(0.5)).to(images)


def edges(picture: Float[np.ndarray, "height width 3"]) -> Float[np.ndarray, " features"]:
    """Histograms of oriented gradients, block by block; the fastest axis is the direction."""
    # channel_axis: with it, skimage takes each pixel's gradient from the channel where it is largest.
    cell = (picture.shape[0] // CELLS, picture.shape[1] // CELLS)
    return hog(picture, ORIENTATIONS, cell, (BLOCK, BLOCK), block_norm="L2-Hys", channel_axis=-1)


def colours(picture: Float[np.ndarray, "height width 3"]) -> Float[np.ndarray, " bins"]:
    """Square roots of the share of pixels in each bin of hue (slowest), saturation and value (fastest)."""
    hsv = rgb2hsv(picture).reshape(-1, 3)
    # Half a bin further: otherwise the border between first and last bin would run through pure red.
    hsv[:, 0] = (hsv[:, 0] + 0.5 / COLOURS[0]) % 1
    # Saturation and value reach 1, which belongs to the last bin.
    bins = np.minimum((hsv * COLOURS).astype(int), np.array(COLOURS) - 1)
    counts = np.bincount(np.ravel_multi_index(tuple(bins.T), COLOURS), minlength=math.prod(COLOURS))
    return np.sqrt(counts / len(hsv))


def _normalize(vector: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The vector at length 1; zeros, of a picture without edges, stay zeros."""
    length = np.linalg.norm(vector)
    return vector / length if length > 0 else vector
