"""Motifs: one small drawing per genre, in a frame of radius 1, for rendered covers.

The random generator varies details (the stars of a sky, the turn of a spiral) and nothing that identifies the genre.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from recsys.data.covers.palettes import Palette, mixed
from recsys.data.covers.pen import Pen

Motif = Callable[[Pen, Palette, np.random.Generator], None]
"""Draws a motif with a pen, in the colours of a palette, with details varied by the generator."""


def burst(pen: Pen, colors: Palette, rng: np.random.Generator) -> None:
    """An explosion."""
    turn = rng.uniform(0, math.pi)
    pen.star(0, 0, 1.12, 0.62, 11, mixed(colors.ground, (0, 0, 0), 0.55), turn)
    pen.star(0, 0, 0.92, 0.5, 11, colors.figure, turn)
    pen.star(0, 0, 0.5, 0.27, 11, colors.accent, turn + 0.2)


def compass(pen: Pen, colors: Palette, rng: np.random.Generator) -> None:
    """A compass rose, its needle turned at random."""
    pen.circle(0, 0, 0.98, colors.figure)
    pen.ring(0, 0, 0.86, colors.shade, 0.07)
    turn = rng.uniform(-0.6, 0.6)
    pen.star(0, 0, 0.6, 0.16, 4, mixed(colors.figure, colors.shade, 0.45), turn + math.pi / 4)
    pen.star(0, 0, 0.92, 0.17, 4, colors.shade, turn)
    x, y = math.sin(turn), -math.cos(turn)
    pen.polygon([(0.92 * x, 0.92 * y), (-0.17 * y, 0.17 * x), (0.17 * y, -0.17 * x)], colors.accent)
    pen.circle(0, 0, 0.13, colors.figure)


def creature(pen: Pen, colors: Palette, rng: np.random.Generator) -> None:
    """A drawn creature with large eyes."""
    pen.circle(-0.52, -0.68, 0.3, colors.figure)
    pen.circle(0.52, -0.68, 0.3, colors.figure)
    pen.circle(0, 0.05, 0.92, colors.figure)
    pen.dome(0, 0.3, 0.5, 0.5, colors.ground, (0, 180))
    pen.dome(0, 0.62, 0.26, 0.2, colors.accent, (0, 360))
    look = rng.uniform(-0.1, 0.1)
    for x in (-0.36, 0.36):
        pen.ellipse(x, -0.22, 0.29, 0.36, (255, 255, 255))
        pen.circle(x + look, -0.15, 0.15, (30, 25, 50))
    pen.circle(0, 0.1, 0.1, colors.accent)


def balloons(pen: Pen, colors: Palette, rng: np.random.Generator) -> None:
    """Three balloons on strings."""
    green = (70, 178, 120)
    for x, y, color in ((-0.55, -0.25, colors.accent), (0.55, -0.2, green), (0.0, -0.52, colors.figure)):
        pen.line([(x, y + 0.4), (0.5 * x, 0.55), (0.0, 1.0)], (255, 255, 255), 0.05)
        pen.ellipse(x, y, 0.4, 0.48, color)
        pen.polygon([(x, y + 0.42), (x - 0.1, y + 0.58), (x + 0.1, y + 0.58)], color)
        pen.ellipse(x - 0.14, y - 0.18, 0.08, 0.13, mixed(color, (255, 255, 255), 0.65))


def mask(pen: Pen, colors: Palette, rng: np.random.Generator) -> None:
    """The laughing mask of comedy."""
    pen.dome(0, -0.55, 0.86, 1.5, colors.figure, (0, 180))
    pen.dome(0, -0.54, 0.86, 0.26, colors.figure)
    for x in (-0.38, 0.38):
        pen.dome(x, -0.14, 0.24, 0.3, colors.ground)
    pen.dome(0, 0.08, 0.56, 0.66, colors.ground, (0, 180))
    pen.dome(0, 0.3, 0.3, 0.34, colors.accent, (0, 180))


def fingerprint(pen: Pen, colors: Palette, rng: np.random.Generator) -> None:
    """A fingerprint under a strip of police tape."""
    for step in range(5):
        r = 0.16 + 0.19 * step
        pen.arc(0, -0.12, 0.74 * r, r, (150 - 6 * step, 390 + 6 * step), colors.figure, 0.1)
        pen.line([(-0.68 * r, 0.0 + 0.3 * r), (-0.8 * r, 0.55 * r + 0.25)], colors.figure, 0.1)
        pen.line([(0.68 * r, 0.0 + 0.3 * r), (0.6 * r, 0.55 * r + 0.35)], colors.figure, 0.1)
    tilt = rng.uniform(0.15, 0.4)
    pen.polygon([(-1.5, 0.35 + tilt), (1.5, 0.35 - tilt), (1.5, 0.68 - tilt), (-1.5, 0.68 + tilt)], colors.accent)
    for step in range(-6, 7, 2):
        x0, x1 = 0.23 * step, 0.23 * (step + 1)
        slope = -tilt / 1.5
        corners = [(x0 + 0.12, 0.35 + slope * x0), (x1 + 0.12, 0.35 + slope * x1)]
        corners += [(x1 - 0.12, 0.68 + slope * x1), (x0 - 0.12, 0.68 + slope * x0)]
        pen.polygon(corners, colors.figure)


def camera(pen: Pen, colors: Palette, rng: np.random.Generator) -> None:
    """A film camera with two reels."""
    turn = rng.uniform(0, 2)
    for x, y, r in ((-0.45, -0.5, 0.42), (0.34, -0.42, 0.34)):
        pen.circle(x, y, r, colors.figure)
        for spoke in range(5):
            angle = turn + 2 * math.pi * spoke / 5
            pen.circle(x + 0.56 * r * math.cos(angle), y + 0.56 * r * math.sin(angle), 0.2 * r, colors.ground)
    pen.box(-0.82, -0.02, 0.5, 0.78, colors.figure, 0.1)
    pen.polygon([(0.44, 0.38), (0.98, 0.02), (0.98, 0.76)], colors.figure)
    pen.circle(-0.52, 0.26, 0.15, colors.accent)


def curtain(pen: Pen, colors: Palette, rng: np.random.Generator) -> None:
    """A stage curtain drawn aside, and a spotlight with somebody in it."""
    light = mixed(colors.ground, colors.accent, 0.55)
    aim = rng.uniform(-0.12, 0.12)
    pen.polygon([(-0.1, -1.0), (0.1, -1.0), (0.55 + aim, 0.78), (-0.55 + aim, 0.78)], light)
    pen.ellipse(aim, 0.78, 0.55, 0.16, colors.accent)
    pen.circle(aim, 0.18, 0.12, colors.shade)
    pen.polygon([(aim - 0.1, 0.3), (aim + 0.1, 0.3), (aim + 0.16, 0.8), (aim - 0.16, 0.8)], colors.shade)
    for side in (-1, 1):
        for fold in range(4):
            x0, x1 = side * (1.12 - 0.19 * fold), side * (0.93 - 0.19 * fold)
            tone = colors.figure if fold % 2 == 0 else mixed(colors.figure, colors.shade, 0.45)
            # Drawn aside: each fold leaves the rail upright and swings out to the edge below the tie.
            edge = side * (1.12 - 0.07 * fold), side * (1.05 - 0.07 * fold)
            pen.polygon([(x0, -1.0), (x1, -1.0), (edge[1], 0.35), (x1 * 0.5 + edge[1] * 0.5, 0.98), (x0, 0.98)], tone)
    for scallop in range(5):
        pen.dome(-0.9 + 0.45 * scallop, -1.02, 0.25, 0.3, mixed(colors.figure, (255, 255, 255), 0.12), (0, 180))


def castle(pen: Pen, colors: Palette, rng: np.random.Generator) -> None:
    """A castle under a crescent moon."""
    x = rng.uniform(0.42, 0.62)
    pen.circle(x, -0.62, 0.34, colors.accent)
    pen.circle(x + 0.15, -0.7, 0.29, colors.ground)
    for sx, sy, r in ((-0.85, -0.75, 0.13), (-0.5, -0.95, 0.09), (0.95, -0.15, 0.1)):
        pen.star(sx, sy, r, 0.35 * r, 4, colors.accent)
    pen.box(-0.62, 0.1, 0.62, 0.9, colors.figure)
    for tx, top, half in ((-0.68, -0.12, 0.2), (0.68, 0.02, 0.2), (-0.04, -0.38, 0.24)):
        pen.box(tx - half, top, tx + half, 0.9, colors.figure)
        pen.polygon([(tx - half - 0.09, top), (tx + half + 0.09, top), (tx, top - 2.2 * half)], colors.figure)
        pen.box(tx - 0.06, top + 0.14, tx + 0.06, top + 0.34, colors.accent, 0.05)
    pen.dome(-0.04, 0.66, 0.2, 0.26, colors.accent)
    pen.box(-0.24, 0.64, 0.16, 0.9, colors.accent)


def blinds(pen: Pen, colors: Palette, rng: np.random.Generator) -> None:
    """A man in a hat before the light of venetian blinds."""
    slope = rng.uniform(0.1, 0.3)
    for step in range(8):
        y = -1.0 + 0.26 * step
        pen.polygon(
            [(-1.1, y + slope), (1.1, y - slope), (1.1, y + 0.13 - slope), (-1.1, y + 0.13 + slope)], colors.figure
        )
    ink = (8, 8, 10)
    pen.ellipse(0, 0.12, 0.34, 0.46, ink)
    pen.polygon([(-0.95, 1.02), (-0.72, 0.62), (-0.2, 0.42), (0.2, 0.42), (0.72, 0.62), (0.95, 1.02)], ink)
    pen.ellipse(0, -0.14, 0.72, 0.15, ink)
    pen.polygon([(-0.4, -0.14), (-0.33, -0.62), (-0.1, -0.55), (0.1, -0.66), (0.35, -0.56), (0.4, -0.14)], ink)
    pen.polygon([(-0.38, -0.26), (0.38, -0.26), (0.4, -0.17), (-0.4, -0.17)], colors.accent)


def skull(pen: Pen, colors: Palette, rng: np.random.Generator) -> None:
    """A skull before a red moon."""
    pen.circle(rng.uniform(-0.15, 0.15), -0.12, 0.98, colors.figure)
    pen.ellipse(0, -0.08, 0.62, 0.58, colors.accent)
    pen.box(-0.36, 0.25, 0.36, 0.82, colors.accent, 0.12)
    for x in (-0.27, 0.27):
        pen.ellipse(x, -0.02, 0.19, 0.22, colors.ground)
        pen.circle(x, 0.02, 0.07, colors.figure)
    pen.polygon([(0, 0.2), (-0.1, 0.4), (0.1, 0.4)], colors.ground)
    for x in (-0.18, 0.0, 0.18):
        pen.box(x - 0.03, 0.54, x + 0.03, 0.84, colors.ground)


def notes(pen: Pen, colors: Palette, rng: np.random.Generator) -> None:
    """Two joined quavers on curved staff lines."""
    lift = rng.uniform(0.02, 0.14)
    for step in range(4):
        y = -0.45 + 0.3 * step
        pen.line([(-1.1, y + lift), (-0.4, y - lift), (0.4, y + lift), (1.1, y - lift)], colors.accent, 0.045)
    pen.polygon([(-0.5, -0.62), (0.72, -0.92), (0.72, -0.58), (-0.5, -0.28)], colors.figure)
    pen.line([(-0.44, -0.5), (-0.44, 0.62)], colors.figure, 0.14)
    pen.line([(0.65, -0.75), (0.65, 0.38)], colors.figure, 0.14)
    pen.ellipse(-0.67, 0.64, 0.32, 0.24, colors.figure)
    pen.ellipse(0.42, 0.4, 0.32, 0.24, colors.figure)


def magnifier(pen: Pen, colors: Palette, rng: np.random.Generator) -> None:
    """A magnifying glass over a keyhole."""
    pen.line([(0.38, 0.38), (0.9, 0.9)], colors.accent, 0.26)
    pen.circle(-0.2, -0.2, 0.8, colors.figure)
    pen.circle(-0.2, -0.2, 0.64, colors.shade)
    pen.arc(-0.2, -0.2, 0.52, 0.52, (190, 260), mixed(colors.shade, (255, 255, 255), 0.5), 0.07)
    pen.circle(-0.2, -0.34, 0.2, colors.accent)
    pen.polygon([(-0.3, -0.3), (-0.1, -0.3), (0.02, 0.2), (-0.42, 0.2)], colors.accent)


def heart(pen: Pen, colors: Palette, rng: np.random.Generator) -> None:
    """A heart, and a small one beside it."""
    x = rng.choice([-0.78, 0.78])
    for frame, color in ((pen, colors.figure), (pen.at(float(x), -0.82, 0.26), colors.accent)):
        frame.circle(-0.42, -0.3, 0.47, color)
        frame.circle(0.42, -0.3, 0.47, color)
        frame.polygon([(-0.84, -0.08), (0, -0.42), (0.84, -0.08), (0, 0.92)], color)
    pen.arc(-0.42, -0.3, 0.3, 0.3, (180, 265), mixed(colors.figure, (255, 255, 255), 0.6), 0.08)


def planet(pen: Pen, colors: Palette, rng: np.random.Generator) -> None:
    """A ringed planet, a rocket and stars."""
    for x, y in rng.uniform(-1.15, 1.15, size=(14, 2)):
        pen.circle(float(x), float(y), 0.045, (255, 255, 255))
    tilt = [(math.cos(t), math.sin(t)) for t in np.linspace(0, 2 * math.pi, 49)]
    ring = [(1.05 * c, 0.2 + 0.24 * s - 0.32 * c) for c, s in tilt]
    pen.line(ring[24:], colors.accent, 0.1)
    pen.circle(0, 0.2, 0.6, colors.figure)
    pen.dome(0, 0.2, 0.6, 0.6, mixed(colors.figure, colors.shade, 0.45), (20, 160))
    pen.line(ring[:25], colors.accent, 0.1)
    x, y = 0.62, -0.72
    pen.polygon([(x + 0.3, y - 0.3), (x + 0.12, y + 0.14), (x - 0.14, y - 0.12)], (255, 255, 255))
    pen.polygon([(x - 0.14, y - 0.12), (x + 0.12, y + 0.14), (x - 0.2, y + 0.2)], (255, 255, 255))
    pen.line([(x - 0.16, y + 0.16), (x - 0.38, y + 0.38)], colors.accent, 0.12)


def spiral(pen: Pen, colors: Palette, rng: np.random.Generator) -> None:
    """A spiral with somebody falling into it."""
    turn = rng.uniform(0, 2 * math.pi)
    for arm in (0.0, math.pi):
        turns = np.linspace(0.25, 1, 90)
        angles = turn + arm + 2 * math.pi * 1.6 * turns
        points = [(float(r * math.cos(a)), float(r * math.sin(a))) for r, a in zip(turns, angles, strict=True)]
        pen.line(points, colors.figure, 0.13)
    pen.circle(0.02, -0.17, 0.1, colors.accent)
    pen.line([(0, -0.08), (0.04, 0.16)], colors.accent, 0.14)
    pen.line([(-0.26, -0.18), (0, -0.02), (0.26, -0.16)], colors.accent, 0.08)
    pen.line([(-0.2, 0.36), (0.03, 0.14), (0.24, 0.32)], colors.accent, 0.09)


def helmet(pen: Pen, colors: Palette, rng: np.random.Generator) -> None:
    """A steel helmet above barbed wire."""
    pen.dome(0, 0.28, 0.82, 1.05, colors.figure)
    pen.box(-1.0, 0.16, 1.0, 0.36, colors.figure, 0.1)
    pen.arc(0, 0.3, 0.62, 0.8, (195, 265), mixed(colors.figure, colors.accent, 0.4), 0.08)
    pen.star(0.05, -0.2, 0.34, 0.14, 5, colors.accent)
    pen.line([(-0.55, 0.36), (-0.3, 0.66)], colors.figure, 0.07)
    pen.line([(0.55, 0.36), (0.3, 0.66)], colors.figure, 0.07)
    y = rng.uniform(0.78, 0.86)
    pen.line([(-1.3, y), (1.3, y)], colors.accent, 0.06)
    for x in (-0.9, -0.3, 0.3, 0.9):
        pen.line([(x - 0.09, y - 0.13), (x + 0.09, y + 0.13)], colors.accent, 0.06)
        pen.line([(x - 0.09, y + 0.13), (x + 0.09, y - 0.13)], colors.accent, 0.06)


def desert(pen: Pen, colors: Palette, rng: np.random.Generator) -> None:
    """A low sun behind a table mountain and a cactus."""
    pen.circle(rng.uniform(-0.3, 0.1), -0.1, 0.78, colors.accent)
    rock = mixed(colors.figure, colors.shade, 0.5)
    pen.polygon([(-1.3, 0.72), (-1.0, 0.2), (-0.86, 0.14), (-0.3, 0.14), (-0.16, 0.26), (0.15, 0.72)], rock)
    pen.box(-1.4, 0.66, 1.4, 1.02, colors.figure)
    pen.box(0.46, -0.5, 0.72, 0.8, colors.figure, 0.13)
    pen.box(0.1, -0.16, 0.28, 0.28, colors.figure, 0.09)
    pen.box(0.1, 0.14, 0.6, 0.3, colors.figure, 0.07)
    pen.box(0.9, -0.3, 1.08, 0.12, colors.figure, 0.09)
    pen.box(0.6, 0.0, 1.08, 0.16, colors.figure, 0.07)


def film_frame(pen: Pen, colors: Palette, rng: np.random.Generator) -> None:
    """An empty film frame, for an item whose genre is unknown."""
    pen.box(-0.95, -0.75, 0.95, 0.75, colors.figure, 0.08)
    pen.box(-0.78, -0.42, 0.78, 0.42, colors.accent, 0.05)
    for step in range(5):
        for y in (-0.59, 0.59):
            pen.box(-0.8 + 0.36 * step, y - 0.08, -0.64 + 0.36 * step, y + 0.08, colors.accent, 0.03)


MOTIFS: dict[str, Motif] = {
    "Action": burst,
    "Adventure": compass,
    "Animation": creature,
    "Children": balloons,
    "Comedy": mask,
    "Crime": fingerprint,
    "Documentary": camera,
    "Drama": curtain,
    "Fantasy": castle,
    "Film-Noir": blinds,
    "Horror": skull,
    "Musical": notes,
    "Mystery": magnifier,
    "Romance": heart,
    "Sci-Fi": planet,
    "Thriller": spiral,
    "War": helmet,
    "Western": desert,
}
"""One motif per MovieLens genre."""
