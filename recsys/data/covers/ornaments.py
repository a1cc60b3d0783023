"""Ornaments of a rendered cover, one per decade, drawn in the frame of the scene."""

from __future__ import annotations

import math
from collections.abc import Callable

from recsys.data.covers.pen import Color, Pen


def ornament_of(year: int) -> Callable[[Pen, Color], None]:
    """The function that draws the ornament of the decade of this year."""
    for first, ornament in ((2000, _corner_dots), (1990, _corner_marks), (1980, _grid), (1970, _stripes)):
        if year >= first:
            return ornament
    for first, ornament in ((1960, _rings), (1950, _atoms), (1940, _heavy_frame)):
        if year >= first:
            return ornament
    return _deco_frame


def _deco_frame(pen: Pen, color: Color) -> None:
    for inset, width in ((0.06, 0.03), (0.13, 0.015)):
        _frame(pen, inset, width, color)
    for x in (-1, 1):
        for r in (0.3, 0.22, 0.14):
            pen.ring(x, -1.11, r, color, 0.03)


def _heavy_frame(pen: Pen, color: Color) -> None:
    _frame(pen, 0.0, 0.09, color)
    for x, y in ((-1, -1.11), (1, -1.11), (-1, 1.11), (1, 1.11)):
        pen.polygon([(x, y), (0.7 * x, y), (x, y - math.copysign(0.3, y))], color)


def _frame(pen: Pen, inset: float, width: float, color: Color) -> None:
    x, y = 1 - inset, 1.11 - inset
    for left, top, right, bottom in ((-x, -y, x, width - y), (-x, y - width, x, y)):
        pen.box(left, top, right, bottom, color)
    for left, right in ((-x, width - x), (x - width, x)):
        pen.box(left, -y, right, y, color)


def _atoms(pen: Pen, color: Color) -> None:
    for x, y, r in ((-0.76, -0.86, 0.2), (0.8, -0.7, 0.13), (0.7, 0.9, 0.17), (-0.82, 0.78, 0.1)):
        pen.star(x, y, r, 0.16 * r, 4, color)
        pen.star(x, y, 0.62 * r, 0.16 * r, 4, color, math.pi / 4)


def _rings(pen: Pen, color: Color) -> None:
    for r in (0.62, 0.44, 0.26):
        pen.ring(-0.95, -1.05, r, color, 0.07)
        pen.ring(0.95, 1.05, r, color, 0.07)


def _stripes(pen: Pen, color: Color) -> None:
    for step in range(3):
        y = -1.02 + 0.13 * step
        x = -0.94 + 0.13 * step
        pen.box(x, y, 1.1, y + 0.06, color)
        pen.box(x, y, x + 0.06, 1.2, color)


def _grid(pen: Pen, color: Color) -> None:
    for step in range(-6, 7):
        pen.line([(0.12 * step, 0.58), (0.42 * step, 1.12)], color, 0.022)
    for y in (0.58, 0.64, 0.73, 0.86, 1.03):
        pen.line([(-1.1, y), (1.1, y)], color, 0.022)


def _corner_marks(pen: Pen, color: Color) -> None:
    for x in (-1, 1):
        for y in (-1, 1):
            pen.line([(0.9 * x, 0.72 * y), (0.9 * x, 0.99 * y), (0.6 * x, 0.99 * y)], color, 0.035)


def _corner_dots(pen: Pen, color: Color) -> None:
    for row in range(4):
        for column in range(4 - row):
            pen.circle(-0.9 + 0.15 * column, -1.0 + 0.15 * row, 0.05, color)
            pen.circle(0.9 - 0.15 * column, 1.0 - 0.15 * row, 0.05, color)
