"""A pen: Pillow's drawing calls in a local frame, so that a motif is defined once and drawn anywhere at any size.

The origin of the frame is its centre, x points right and y down, and its radius is 1: a shape in ``[-1, 1]²`` fills it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from PIL import ImageDraw

Color = tuple[int, int, int]
Point = tuple[float, float]


@dataclass(frozen=True)
class Pen:
    """Draws on an image, in the frame with centre ``(x, y)`` and radius ``radius``, all three in pixels."""

    draw: ImageDraw.ImageDraw
    x: float
    y: float
    radius: float
    mirrored: bool = False
    """Whether to draw the mirror image, left and right exchanged."""

    def at(self, x: float, y: float, radius: float) -> Pen:
        """A pen whose frame is centred at ``(x, y)`` of this frame and ``radius`` times as large."""
        px, py = self.place(x, y)
        return replace(self, x=px, y=py, radius=self.radius * radius)

    def place(self, x: float, y: float) -> Point:
        """Pixel coordinates of a point of the frame."""
        return self.x + (-x if self.mirrored else x) * self.radius, self.y + y * self.radius

    def polygon(self, points: Iterable[Point], color: Color) -> None:
        self.draw.polygon([self.place(*point) for point in points], fill=color)

    def line(self, points: Sequence[Point], color: Color, width: float) -> None:
        pixels = [self.place(*point) for point in points]
        self.draw.line(pixels, fill=color, width=max(1, round(width * self.radius)), joint="curve")

    def box(self, left: float, top: float, right: float, bottom: float, color: Color, corner: float = 0.0) -> None:
        """A rectangle with rounded corners of radius ``corner``."""
        self.draw.rounded_rectangle(self._corners(left, top, right, bottom), corner * self.radius, fill=color)

    def ellipse(self, x: float, y: float, rx: float, ry: float, color: Color) -> None:
        self.draw.ellipse(self._corners(x - rx, y - ry, x + rx, y + ry), fill=color)

    def circle(self, x: float, y: float, r: float, color: Color) -> None:
        self.ellipse(x, y, r, r, color)

    def ring(self, x: float, y: float, r: float, color: Color, width: float) -> None:
        """The outline of a circle, drawn inwards from radius ``r``."""
        self.draw.ellipse(
            self._corners(x - r, y - r, x + r, y + r), outline=color, width=max(1, round(width * self.radius))
        )

    def arc(self, x: float, y: float, rx: float, ry: float, degrees: Point, color: Color, width: float) -> None:
        """Part of the outline of an ellipse, clockwise between two angles in degrees from the positive x axis."""
        start, end = (180 - degrees[1], 180 - degrees[0]) if self.mirrored else degrees
        pixels = max(1, round(width * self.radius))
        self.draw.arc(self._corners(x - rx, y - ry, x + rx, y + ry), start, end, fill=color, width=pixels)

    def dome(self, x: float, y: float, rx: float, ry: float, color: Color, degrees: Point = (180, 360)) -> None:
        """Part of an ellipse closed by a straight chord, by default the upper half."""
        start, end = (180 - degrees[1], 180 - degrees[0]) if self.mirrored else degrees
        self.draw.chord(self._corners(x - rx, y - ry, x + rx, y + ry), start, end, fill=color)

    def star(
        self, x: float, y: float, outer: float, inner: float, points: int, color: Color, turn: float = 0.0
    ) -> None:
        """A star with ``points`` points, the first one upwards, turned by ``turn`` radians."""
        angles = [turn - math.pi / 2 + math.pi * step / points for step in range(2 * points)]
        radii = [outer, inner] * points
        self.polygon([(x + r * math.cos(a), y + r * math.sin(a)) for r, a in zip(radii, angles, strict=True)], color)

    def _corners(self, left: float, top: float, right: float, bottom: float) -> tuple[float, float, float, float]:
        # Pillow requires left <= right, which mirroring reverses.
        (x0, y0), (x1, y1) = self.place(left, top), self.place(right, bottom)
        return min(x0, x1), y0, max(x0, x1), y1
