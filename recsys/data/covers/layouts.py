"""Backgrounds of a rendered cover: a gradient, and the shape behind the motif."""

from __future__ import annotations

import math
from collections.abc import Callable

from PIL import Image

from recsys.data.covers.palettes import Palette
from recsys.data.covers.pen import Color, Pen

Layout = Callable[[Pen, Palette, Color], None]
"""Draws the shape behind the motif in the frame of the scene, in a given colour."""


def vertical_gradient(top: Color, bottom: Color, size: tuple[int, int]) -> Image.Image:
    """An image whose colour changes from `top` to `bottom`."""
    ramp = Image.linear_gradient("L").resize(size)
    return Image.composite(Image.new("RGB", size, bottom), Image.new("RGB", size, top), ramp)


def _disc(pen: Pen, palette: Palette, tone: Color) -> None:
    pen.circle(0, 0, 0.9, tone)


def _band(pen: Pen, palette: Palette, tone: Color) -> None:
    pen.box(-1, -0.5, 1, 0.5, tone)


def _diagonal(pen: Pen, palette: Palette, tone: Color) -> None:
    pen.polygon([(-1, -1.2), (-1, 1.2), (1, 1.2)], tone)


def _arch(pen: Pen, palette: Palette, tone: Color) -> None:
    pen.circle(0, -0.1, 0.8, tone)
    pen.box(-0.8, -0.1, 0.8, 1.2, tone)


def _halves(pen: Pen, palette: Palette, tone: Color) -> None:
    pen.box(0, -1.2, 1, 1.2, tone)


def _rays(pen: Pen, palette: Palette, tone: Color) -> None:
    for step in range(12):
        a, b = math.pi * step / 6, math.pi * (step + 0.5) / 6
        pen.polygon([(0, 0), (1.2 * math.cos(a), 1.2 * math.sin(a)), (1.2 * math.cos(b), 1.2 * math.sin(b))], tone)


LAYOUTS: tuple[Layout, ...] = (_disc, _band, _diagonal, _arch, _halves, _rays)
"""All layouts; a cover draws one at random by its index."""
