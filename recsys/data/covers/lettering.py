"""The title of a rendered cover: a panel with the title in the largest type that fits."""

from __future__ import annotations

import re
from functools import lru_cache

from PIL import ImageFont

from recsys.data.covers.palettes import PALETTES, Palette, luminance, mixed
from recsys.data.covers.pen import Pen

LEADING = 0.98
"""Distance between two lines of capitals, in font heights."""


def draw_title_panel(
    page: Pen, palette: Palette, names: list[str], title: str, year: int | None, *, on_top: bool
) -> None:
    """Draw the title on a panel at the top or bottom of the page, with the genres' colours along its inner edge."""
    old = year is not None and year < 1970
    paper = mixed((247, 241, 226), palette.ground, 0.12) if old else mixed(palette.shade, (0, 0, 0), 0.45)
    ink = (28, 24, 24) if luminance(paper) > 0.5 else (255, 250, 238)
    panel = page.at(0, -1.11 if on_top else 1.11, 1)
    panel.box(-1.1, -0.4, 1.1, 0.4, paper)
    edge = 0.37 if on_top else -0.39
    for position, name in enumerate(names):
        left, right = -1 + 2 * position / len(names), -1 + 2 * (position + 1) / len(names)
        panel.box(left, edge, right, edge + 0.07, PALETTES[name].ground)
    lines, height = _set_type(_spoken_form(title), 1.84 * page.radius, 0.58 * page.radius)
    x, y = panel.place(0, -0.03 if on_top else 0.03)
    font = _font(height)
    for row, line in enumerate(lines):
        centre = (x, y + (row - (len(lines) - 1) / 2) * height * LEADING)
        # Pillow's built-in font has one weight: a stroke in the colour of the text makes it bold.
        page.draw.text(centre, line, fill=ink, font=font, anchor="mm", stroke_width=height / 28, stroke_fill=ink)


def _spoken_form(title: str) -> str:
    """The title in capitals without parentheses, its article in front: "Matrix, The (1999)" is "THE MATRIX"."""
    title = re.sub(r"\s*\([^)]*\)", "", title).strip()
    title = re.sub(r"^(.*), (The|A|An|Les|La|Le|L'|Il|Das|Der|Die|El)$", r"\2 \1", title)
    return title.upper()


@lru_cache(maxsize=64)
def _font(height: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(height)


def _set_type(text: str, width: float, height: float) -> tuple[list[str], int]:
    """Break a title into lines at the largest type size (in pixels) that fits; a title that never fits is truncated."""
    largest, smallest = round(width / 4.6), round(width / 8.5)
    for size in range(largest, smallest, -2):
        lines = _lines(text, size, width)
        if len(lines) * size * LEADING <= height and all(_font(size).getlength(line) <= width for line in lines):
            return lines, size
    max_lines = int(height / (smallest * LEADING))
    lines = _lines(text, smallest, width)
    if len(lines) > max_lines:
        lines = [*lines[: max_lines - 1], lines[max_lines - 1] + "…"]
    return lines, smallest


def _lines(text: str, size: int, width: float) -> list[str]:
    """Greedy line breaking between words."""
    lines: list[str] = []
    for word in text.split():
        if lines and _font(size).getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
