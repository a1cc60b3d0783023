"""Captions: an item's picture in words (``cap_i`` of eq. 2)."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from generation.request import Item

COLOURS: Mapping[str, tuple[int, int, int]] = {
    "black": (16, 16, 18),
    "charcoal": (58, 60, 66),
    "grey": (128, 130, 134),
    "silver": (190, 192, 196),
    "white": (246, 246, 244),
    "cream": (238, 224, 192),
    "beige": (206, 182, 142),
    "brown": (112, 74, 44),
    "maroon": (104, 22, 34),
    "red": (206, 34, 38),
    "coral": (238, 112, 92),
    "orange": (236, 130, 34),
    "gold": (214, 168, 56),
    "yellow": (246, 218, 64),
    "olive": (112, 112, 44),
    "lime": (150, 200, 66),
    "green": (52, 138, 66),
    "forest": (24, 74, 46),
    "teal": (24, 124, 124),
    "turquoise": (72, 196, 190),
    "sky": (120, 180, 228),
    "blue": (44, 94, 196),
    "navy": (22, 34, 84),
    "indigo": (66, 48, 132),
    "violet": (132, 84, 186),
    "purple": (92, 30, 100),
    "magenta": (200, 44, 134),
    "pink": (240, 160, 184),
}
"""Named sRGB colours; every pixel has the name of the nearest in CIELAB."""


@runtime_checkable
class Captioner(Protocol):
    """Items and their pictures in, one caption each out: :class:`PaletteCaptioner`, ``blip.Blip2Captioner`` …"""

    def __call__(self, items: Sequence[Item], images: UInt8[Tensor, "n 3 height width"]) -> list[str]:
        """One caption an item, in order."""
        ...


def srgb_to_lab(rgb: UInt8[np.ndarray, "*shape 3"]) -> Float[np.ndarray, "*shape 3"]:
    """CIELAB (D65) of sRGB bytes; Euclidean distance there is roughly perceptual (CIE 1976)."""
    srgb = rgb.astype(np.float32) / 255
    # Constants of IEC 61966-2-1 (sRGB), of its matrix to XYZ, of the white point D65 and of CIE 15 (L*a*b*).
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], np.float32)
    xyz = linear @ to_xyz.T / np.array([0.9505, 1.0, 1.089], np.float32)
    cube = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = np.moveaxis(cube, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1).astype(np.float32)


def palette(image: UInt8[np.ndarray, "height width 3"], n: int = 3, least: float = 0.08) -> tuple[str, ...]:
    """The picture's ``n`` most frequent colour names that cover at least the share ``least``, most frequent first."""
    # Every second pixel each way: the shares hardly change, and the (P, C) distances are a quarter as many.
    pixels = srgb_to_lab(image[::2, ::2].reshape(-1, 3))  # (P, 3)
    colours = srgb_to_lab(np.array(list(COLOURS.values()), np.uint8))  # (C, 3)
    nearest = ((pixels[:, None] - colours[None]) ** 2).sum(-1).argmin(1)
    share = np.bincount(nearest, minlength=len(COLOURS)) / len(pixels)
    # Stable: equal shares keep the order of COLOURS on every platform.
    order = np.argsort(-share, kind="stable")[:n]
    names = list(COLOURS)
    return tuple(names[i] for i in order if share[i] >= least) or (names[order[0]],)


class PaletteCaptioner:
    """Captions without a pretrained model: the item's own tags and era, then the colours of its picture.

    ``"Action, Sci-Fi, 1990s in navy, teal, orange"``. The first half is the catalogue's, the second is computed from
    the picture; a model such as BLIP-2 captions more of it, through the same protocol.
    """

    def __call__(self, items: Sequence[Item], images: UInt8[Tensor, "n 3 height width"]) -> list[str]:
        """One caption an item, in order."""
        pixels = images.permute(0, 2, 3, 1).numpy()
        return [describe(item, palette(picture)) for item, picture in zip(items, pixels, strict=True)]


class TextCaptioner:
    """The first words of the item's own text in place of a description of its picture.

    Args:
        words: number of words: the dual encoder and the prompt p_g read short texts.
    """

    def __init__(self, words: int = 40) -> None:
        self.words = words

    def __call__(self, items: Sequence[Item], images: UInt8[Tensor, "n 3 height width"]) -> list[str]:
        """One caption an item, in order."""
        return [first_words(item.text, self.words) for item in items]


def first_words(text: str, n: int) -> str:
    """The text in one line, cut off after ``n`` words."""
    return " ".join(text.split()[:n])


def describe(item: Item, colours: Sequence[str] = ()) -> str:
    """The caption from an item's tags, decade and colours; what is not known is left out."""
    words = ", ".join((*item.tags, *era(item.title)))
    # Whoever splits a caption into phrases relies on this form: "a, b in c, d".
    return " in ".join(half for half in (words, ", ".join(colours)) if half)


def era(title: str) -> tuple[str, ...]:
    """The decade, if the title ends in a year: ``"Alien (1979)"`` -> ``("1970s",)``."""
    year = title.rstrip()[-5:-1]
    return (f"{year[:3]}0s",) if title.rstrip().endswith(")") and year.isdigit() else ()
