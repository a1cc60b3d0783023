"""The frame of a catalogue's pictures: its shape by the median picture, and how much of each a crop would cut."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

LONGEST = 4
"""Longer side over shorter side of the longest frame that is chosen."""
NOTABLE = 0.05
"""Share of a picture whose loss is counted."""

Fit = Literal["pad", "crop"]
"""How a picture of other proportions than the frame's is brought into it."""

Shape = tuple[int, int]
"""(height, width) in pixels."""


def choose_frame(shapes: Sequence[Shape], like: Shape, *, multiple: int, height: int = 0, width: int = 0) -> Shape:
    """The frame with the median picture's proportions and about the area of ``like``, in multiples of ``multiple``.

    Args:
        shapes: of the pictures; without any, ``like`` itself is the frame.
        like: a frame of the area that is wanted.
        multiple: divides both sides.
        height: fixed, if it is not 0; it then determines a free width by the proportions.
        width: likewise.
    """
    ratio = median_ratio(shapes) if shapes else like[1] / like[0]
    ratio = min(max(ratio, 1 / LONGEST), LONGEST)
    area = like[0] * like[1]
    free = (width / ratio if width else math.sqrt(area / ratio), height * ratio if height else math.sqrt(area * ratio))
    rounded = [max(1, round(side / multiple)) * multiple for side in free]
    return height or rounded[0], width or rounded[1]


def median_ratio(shapes: Sequence[Shape]) -> float:
    """Median of width over height."""
    return float(np.median([width / height for height, width in shapes]))


@dataclass(frozen=True)
class Cuts:
    """Shares of pictures that a crop to a frame cuts off."""

    notable: int
    """Pictures that lose more than :data:`NOTABLE`."""
    median: float
    worst: float


def cuts(shapes: Sequence[Shape], frame: Shape) -> Cuts:
    """How much of each picture lies outside the frame that it is scaled to cover; there must be a picture."""
    of_frame = frame[1] / frame[0]
    ratios = np.array([width / height for height, width in shapes])
    lost = 1 - np.minimum(ratios / of_frame, of_frame / ratios)
    return Cuts(int((lost > NOTABLE).sum()), float(np.median(lost)), float(lost.max()))
