"""Covers: poster art rendered from an item's title, year and genres, for catalogues that come without pictures.

A cover is a small minimalist poster. The rarer of its genres gives palette and motif, the next one a badge and the
shape behind the motif, all of them together a stripe of colours; the decade ages the colours and adds an ornament; the
title stands as type. Everything that is left to chance (position, size, hue, mirror image, layout) follows from a hash
of the item's id, so a cover is the same wherever it is rendered with the same Pillow.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from recsys.data.covers.motifs import MOTIFS, film_frame
from recsys.data.covers.palettes import PALETTES, PLAIN, Palette, luminance, mixed
from recsys.data.covers.pen import Color, Pen

SIZE = (64, 96)
"""Width and height of a cover in pixels."""

OVERSAMPLING = 4
"""A cover is drawn this many times larger and then reduced, which smooths its edges."""

RAREST_FIRST = (
    "Film-Noir",
    "Western",
    "Fantasy",
    "Animation",
    "Musical",
    "Documentary",
    "War",
    "Horror",
    "Mystery",
    "Sci-Fi",
    "Crime",
    "Children",
    "Adventure",
    "Romance",
    "Action",
    "Thriller",
    "Comedy",
    "Drama",
)
"""The genres by what they tell: a comic western looks like a western."""

Layout = Callable[[Pen, Palette, Color], None]


def cover(
    item_id: str, title: str, genres: Sequence[str], year: int | None, *, size: tuple[int, int] = SIZE
) -> Image.Image:
    """Render one cover.

    Args:
        item_id: seeds everything that varies between items of the same genres and decade.
        title: drawn in capitals, without what stands in parentheses; "" leaves the type out.
        genres: MovieLens names ("Children's" is "Children"); unknown ones are ignored.
        year: of release; None draws neither ornament nor age.
        size: width and height in pixels, as 2:3.

    Returns:
        An RGB image of that size.

    Raises:
        ValueError: the size is not 2:3.
    """
    width, height = size
    if width < 1 or 3 * width != 2 * height:
        raise ValueError(f"a cover is 2:3, such as 64x96; got {width}x{height}")
    rng = np.random.default_rng(int.from_bytes(blake2b(item_id.encode(), digest_size=8).digest(), "big"))
    names = known_genres(genres)
    hue = rng.uniform(-0.015, 0.015)
    palette = (PALETTES[names[0]] if names else PLAIN).aged(year, hue=hue)
    second = PALETTES[names[1]].aged(year, hue=hue) if len(names) > 1 else None

    image = _gradient(palette.ground, palette.shade, (width * OVERSAMPLING, height * OVERSAMPLING))
    page = Pen(ImageDraw.Draw(image), image.width / 2, image.height / 2, image.width / 2)
    on_top = bool(rng.random() < 0.25)
    scene = page.at(0, 0.39 if on_top else -0.39, 1)  # the 2 x 2.22 rectangle that the title leaves free
    LAYOUTS[rng.integers(len(LAYOUTS))](scene, palette, second.ground if second else palette.shade)
    if year is not None:
        _ornament(year)(scene, mixed(palette.ground, palette.accent, 0.55))
    place = scene.at(rng.uniform(-0.08, 0.08), rng.uniform(-0.06, 0.06), rng.uniform(0.62, 0.76))
    motif = MOTIFS[names[0]] if names else film_frame
    motif(Pen(place.draw, place.x, place.y, place.radius, mirrored=bool(rng.random() < 0.5)), palette, rng)
    if second is not None:
        badge = scene.at(-0.68 if rng.random() < 0.5 else 0.68, -0.72 if on_top else 0.76, 0.25)
        badge.circle(0, 0, 1.14, (255, 255, 255))
        badge.circle(0, 0, 1, second.ground)
        MOTIFS[names[1]](badge.at(0, 0, 0.66), second, rng)
    _title_panel(page, palette, names, title, year, on_top=on_top)
    return image.resize(size, Image.Resampling.LANCZOS)


def known_genres(genres: Sequence[str]) -> list[str]:
    """The genres that have a palette and a motif, most telling first."""
    names = {genre.replace("Children's", "Children") for genre in genres}
    return [name for name in RAREST_FIRST if name in names]


def _gradient(top: Color, bottom: Color, size: tuple[int, int]) -> Image.Image:
    ramp = Image.linear_gradient("L").resize(size)
    return Image.composite(Image.new("RGB", size, bottom), Image.new("RGB", size, top), ramp)


# The shapes behind the motif, in the scene's frame.


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


# The ornaments of the decades, in the scene's frame.


def _ornament(year: int) -> Callable[[Pen, Color], None]:
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


# The title.


def _title_panel(page: Pen, palette: Palette, names: list[str], title: str, year: int | None, *, on_top: bool) -> None:
    """A panel of 2 x 0.78 at the top or the bottom of the page, with the genres' stripe on its inner edge."""
    old = year is not None and year < 1970
    paper = mixed((247, 241, 226), palette.ground, 0.12) if old else mixed(palette.shade, (0, 0, 0), 0.45)
    ink = (28, 24, 24) if luminance(paper) > 0.5 else (255, 250, 238)
    panel = page.at(0, -1.11 if on_top else 1.11, 1)
    panel.box(-1.1, -0.4, 1.1, 0.4, paper)
    edge = 0.37 if on_top else -0.39
    for place, name in enumerate(names):
        left, right = -1 + 2 * place / len(names), -1 + 2 * (place + 1) / len(names)
        panel.box(left, edge, right, edge + 0.07, PALETTES[name].ground)
    lines, height = _set_type(_spoken(title), 1.84 * page.radius, 0.58 * page.radius)
    x, y = panel.place(0, -0.03 if on_top else 0.03)
    font = _font(height)
    for row, line in enumerate(lines):
        where = (x, y + (row - (len(lines) - 1) / 2) * height * LEADING)
        page.draw.text(where, line, fill=ink, font=font, anchor="mm", stroke_width=height / 28, stroke_fill=ink)


LEADING = 0.98
"""Distance of two lines of capitals, in font heights."""


def _spoken(title: str) -> str:
    """The title as it is said: "Matrix, The (1999)" is "THE MATRIX"."""
    title = re.sub(r"\s*\([^)]*\)", "", title).strip()
    title = re.sub(r"^(.*), (The|A|An|Les|La|Le|L'|Il|Das|Der|Die|El)$", r"\2 \1", title)
    return title.upper()


@lru_cache(maxsize=64)
def _font(height: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(height)


def _set_type(text: str, width: float, height: float) -> tuple[list[str], int]:
    """Break a title into lines at the largest type size (in pixels) that fits; a title that never fits is cut."""
    largest, smallest = round(width / 4.6), round(width / 8.5)
    for size in range(largest, smallest, -2):
        lines = _lines(text, size, width)
        if len(lines) * size * LEADING <= height and all(_font(size).getlength(line) <= width for line in lines):
            return lines, size
    fitting = int(height / (smallest * LEADING))
    lines = _lines(text, smallest, width)
    if len(lines) > fitting:
        lines = [*lines[: fitting - 1], lines[fitting - 1] + "…"]
    return lines, smallest


def _lines(text: str, size: int, width: float) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and _font(size).getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
