"""Covers: posters rendered from an item's title, year and genres, for catalogues without images.

A cover is a small minimalist poster. The rarest genre determines palette and motif, the second rarest the badge and the
colour of the background shape, all genres together a stripe of colours; the decade ages the colours and adds an
ornament; the title is set in capitals. All random choices (position, size, hue, mirroring, layout) are seeded by a hash
of the item's id, so that a cover is the same wherever it is rendered with the same version of Pillow.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from PIL import Image, ImageDraw

from recsys.data.covers.layouts import LAYOUTS, vertical_gradient
from recsys.data.covers.lettering import draw_title_panel
from recsys.data.covers.motifs import MOTIFS, film_frame
from recsys.data.covers.ornaments import ornament_of
from recsys.data.covers.palettes import PALETTES, PLAIN, mixed
from recsys.data.covers.pen import Pen

SIZE = (64, 96)
"""Width and height of a cover in pixels."""

OVERSAMPLING = 4
"""A cover is drawn this many times larger and then reduced, because Pillow does not antialias shapes."""

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
"""The genres by how much they tell about a film: a comic western looks like a western."""


def cover(
    item_id: str, title: str, genres: Sequence[str], year: int | None, *, size: tuple[int, int] = SIZE
) -> Image.Image:
    """Render one cover.

    Args:
        item_id: seeds everything that varies between items of the same genres and decade.
        title: drawn in capitals, without text in parentheses; "" draws no text.
        genres: MovieLens names ("Children's" is "Children"); unknown genres are ignored.
        year: year of release; None draws no ornament and does not age the colours.
        size: width and height in pixels, in the ratio 2:3.

    Returns:
        An RGB image of that size.

    Raises:
        ValueError: the size is not 2:3.
    """
    width, height = size
    if width < 1 or 3 * width != 2 * height:
        raise ValueError(f"a cover is 2:3, such as 64x96; got {width}x{height}")
    # The order of the draws below is part of a cover's look: it must not change.
    rng = np.random.default_rng(int.from_bytes(blake2b(item_id.encode(), digest_size=8).digest(), "big"))
    names = known_genres(genres)
    hue = rng.uniform(-0.015, 0.015)
    palette = (PALETTES[names[0]] if names else PLAIN).aged(year, hue=hue)
    second = PALETTES[names[1]].aged(year, hue=hue) if len(names) > 1 else None

    image = vertical_gradient(palette.ground, palette.shade, (width * OVERSAMPLING, height * OVERSAMPLING))
    page = Pen(ImageDraw.Draw(image), image.width / 2, image.height / 2, image.width / 2)
    on_top = bool(rng.random() < 0.25)
    scene = page.at(0, 0.39 if on_top else -0.39, 1)  # the 2 x 2.22 rectangle beside the title panel
    LAYOUTS[rng.integers(len(LAYOUTS))](scene, palette, second.ground if second else palette.shade)
    if year is not None:
        ornament_of(year)(scene, mixed(palette.ground, palette.accent, 0.55))
    frame = scene.at(rng.uniform(-0.08, 0.08), rng.uniform(-0.06, 0.06), rng.uniform(0.62, 0.76))
    motif = MOTIFS[names[0]] if names else film_frame
    motif(Pen(frame.draw, frame.x, frame.y, frame.radius, mirrored=bool(rng.random() < 0.5)), palette, rng)
    if second is not None:
        badge = scene.at(-0.68 if rng.random() < 0.5 else 0.68, -0.72 if on_top else 0.76, 0.25)
        badge.circle(0, 0, 1.14, (255, 255, 255))
        badge.circle(0, 0, 1, second.ground)
        MOTIFS[names[1]](badge.at(0, 0, 0.66), second, rng)
    draw_title_panel(page, palette, names, title, year, on_top=on_top)
    return image.resize(size, Image.Resampling.LANCZOS)


def known_genres(genres: Sequence[str]) -> list[str]:
    """The genres that have a palette and a motif, rarest first."""
    names = {genre.replace("Children's", "Children") for genre in genres}
    return [name for name in RAREST_FIRST if name in names]
