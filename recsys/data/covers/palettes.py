"""Palettes: the colours of a rendered cover, one palette per genre, aged by year and with a slightly shifted hue."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

from recsys.data.covers.pen import Color


@dataclass(frozen=True)
class Palette:
    """The colours of one cover, each as 8-bit RGB."""

    ground: Color
    """The background."""
    shade: Color
    """The second tone of the background: the far end of its gradient, and the shapes of its layout."""
    figure: Color
    """The motif."""
    accent: Color
    """Details of the motif."""

    def aged(self, year: int | None, *, hue: float = 0.0) -> Palette:
        """The palette as in a print of that year, with hues shifted by ``hue`` (a fraction of the colour circle).

        From 1920 to 1990 colours gain saturation and lose a sepia tint; later years and None keep the colours.
        """
        age = 0.0 if year is None else min(max((1990 - year) / 70, 0.0), 1.0)
        return Palette(*(_aged(color, age, hue) for color in (self.ground, self.shade, self.figure, self.accent)))


def _aged(color: Color, age: float, hue: float) -> Color:
    h, lightness, saturation = colorsys.rgb_to_hls(*(channel / 255 for channel in color))
    rgb = colorsys.hls_to_rgb((h + hue) % 1, lightness, saturation * (1 - 0.45 * age))
    sepia = colorsys.hls_to_rgb(0.095, lightness, 0.35)
    r, g, b = (round(255 * ((1 - 0.3 * age) * c + 0.3 * age * s)) for c, s in zip(rgb, sepia, strict=True))
    return r, g, b


def luminance(color: Color) -> float:
    """Perceived lightness between 0 (black) and 1 (white), by the Rec. 601 weights."""
    r, g, b = color
    return (0.299 * r + 0.587 * g + 0.114 * b) / 255


def mixed(a: Color, b: Color, share: float) -> Color:
    """``a`` with ``share`` of ``b`` mixed in, 0 to 1."""
    red, green, blue = (round((1 - share) * x + share * y) for x, y in zip(a, b, strict=True))
    return red, green, blue


def _rgb(code: str) -> Color:
    return int(code[0:2], 16), int(code[2:4], 16), int(code[4:6], 16)


def _palette(ground: str, shade: str, figure: str, accent: str) -> Palette:
    return Palette(_rgb(ground), _rgb(shade), _rgb(figure), _rgb(accent))


PALETTES: dict[str, Palette] = {
    "Action": _palette("E8471F", "B3260F", "FFC928", "FFF6DC"),
    "Adventure": _palette("17907A", "0C5F5A", "F6DDA6", "E2622B"),
    "Animation": _palette("F0479B", "C92582", "35D3E0", "FFE347"),
    "Children": _palette("A5DEF7", "6FBDE8", "F4514B", "FFD04F"),
    "Comedy": _palette("FFD12E", "F7AE12", "2B2A3D", "F0476A"),
    "Crime": _palette("8D949B", "6A727A", "23282E", "FFD000"),
    "Documentary": _palette("F1ECDF", "DCD3BF", "2F4558", "DB3A34"),
    "Drama": _palette("4A1730", "2C0B1D", "A8324F", "FBE9B7"),
    "Fantasy": _palette("C3A6F0", "9573D6", "43257A", "FFE27A"),
    "Film-Noir": _palette("26262A", "0B0B0D", "F3F1EA", "8E8E94"),
    "Horror": _palette("170A0C", "000000", "C3141C", "EFE6D2"),
    "Musical": _palette("8A1FA8", "5A0F7C", "FFC845", "FF7AC6"),
    "Mystery": _palette("0C3B46", "062229", "58D6D0", "F4EBC8"),
    "Romance": _palette("FBD3D6", "F3AAB4", "D81E4A", "FFFFFF"),
    "Sci-Fi": _palette("14206E", "4B1A86", "6FB6FF", "FF7D5C"),
    "Thriller": _palette("0D1B2E", "050B16", "C9F230", "F5F7EC"),
    "War": _palette("6C7442", "474E29", "262B15", "D8CFA0"),
    "Western": _palette("F6B873", "E07A3A", "8C2F1B", "FFF0C2"),
}
"""One palette per MovieLens genre, with distinct background colours, so that colour alone tells most genres apart."""

PLAIN = _palette("C9C7C2", "ABA8A2", "57554F", "F5F3EE")
"""The palette of an item without a known genre."""
