"""Covers: poster art rendered from an item's title, year and genres, for catalogues that come without pictures.

A cover is a small minimalist poster. The rarer of its genres gives palette and motif, the next one a badge and the
shape behind the motif, all of them together a stripe of colours; the decade ages the colours and adds an ornament; the
title stands as type. Everything that is left to chance (position, size, hue, mirror image, layout) follows from a hash
of the item's id, so a cover is the same wherever it is rendered with the same Pillow.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from PIL import Image, ImageDraw

from recsys.data.covers.layouts import LAYOUTS, _gradient
from recsys.data.covers.lettering import _title_panel
from recsys.data.covers.motifs import MOTIFS, film_frame
from recsys.data.covers.ornaments import _ornament
from recsys.data.covers.palettes import PALETTES, PLAIN, mixed
from recsys.data.covers.pen import Pen

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
