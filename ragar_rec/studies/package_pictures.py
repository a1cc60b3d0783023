"""Pictures that the shipped backbone learns from: rendered covers, stickers on coloured grounds, procedural pictures.

None of them is of a catalogue that the backbone is judged on: the covers' titles are made of words that are drawn anew.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from scipy import ndimage
from torch import Tensor

from recsys.catalog import Item
from recsys.data.covers import cover

SIZE = (96, 64)
"""Height and width of the pictures."""

WORDS = (
    "amber anchor april arrow ash autumn basin bell birch blue bridge candle canyon cedar chapel cinder city cliff "
    "clock coast comet copper coral crane creek crown dawn deep desert drift dusk echo ember engine evening falcon far "
    "fathom feather field fifth final fire first fjord flame forest fox frost garden ghost glass golden gravel green "
    "grey hall harbour harvest hidden hill hollow hour house island ivory journey juniper kingdom lantern last letter "
    "little long lost marble meadow midnight mirror moon morning mountain needle night north ocean old orchard other "
    "paper parade pearl pilgrim pine planet quiet rain raven red river road rose salt sand second secret seven shadow "
    "shore silent silver sister sky slow small snow song south spring star stone storm street summer sun tall thirteen "
    "thunder tide tower train valley velvet violet voyage wall water west white wild willow wind window winter wolf "
    "wood"
).split()
"""Words of the covers' titles."""

GENRES = (
    "Action Adventure Animation Children Comedy Crime Documentary Drama Fantasy Film-Noir Horror Musical Mystery "
    "Romance Sci-Fi Thriller War Western"
).split()
"""Genres that covers are rendered of, one to three each."""


class PackagePictures(NamedTuple):
    """Items with their pictures, row by row."""

    items: tuple[Item, ...]
    images: UInt8[Tensor, "n 3 height width"]


def rendered_covers(n: int, rng: np.random.Generator) -> PackagePictures:
    """Covers of films that do not exist: titles of one to four words, one to three genres, years from 1920 to 2024."""
    items, pictures = [], []
    for number in range(n):
        title = " ".join(rng.choice(WORDS, rng.integers(1, 5), replace=False)).title()
        genres = tuple(str(genre) for genre in rng.choice(GENRES, rng.integers(1, 4), replace=False))
        year = int(rng.integers(1920, 2025))
        items.append(Item(f"cover {number}", f"{title} ({year})", genres, "", None))
        pictures.append(cover(f"package {number} {rng.integers(1 << 31)}", title, genres, year))
    return PackagePictures(tuple(items), _stacked(pictures))


def stickers(folder: Path, style: str, rng: np.random.Generator, *, copies: int = 2) -> PackagePictures:
    """Stickers of one style, each once on white and ``copies - 1`` times on a ground of its own, at random sizes.

    Args:
        folder: holds ``labels.csv`` (columns ``path``, ``style``, ``name``, ``group``, ``subgroup``) and the pictures.
        style: of the column ``style``; its licence must allow to ship what was learned from it.
        rng: draws grounds, sizes and places.
        copies: pictures of each sticker.
    """
    with (folder / "labels.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["style"] == style]
    items, pictures = [], []
    for row in rows:
        with Image.open(folder / row["path"]) as file:
            sticker = file.convert("RGBA")
        tags = tuple(part for part in (row["subgroup"].replace("-", " "), row["group"]) if part)
        for copy in range(copies):
            ground = np.full((*SIZE, 3), 255, np.uint8) if copy == 0 else (255 * _gradient(rng)).astype(np.uint8)
            frame = Image.fromarray(ground).convert("RGBA")
            side = int(rng.integers(40, 65))
            small = sticker.resize((side, side), Image.Resampling.LANCZOS)
            frame.alpha_composite(small, (int(rng.integers(0, 65 - side)), int(rng.integers(0, 97 - side))))
            items.append(Item(f"{row['path']} {copy}", row["name"], tags, "", None))
            pictures.append(frame.convert("RGB"))
    return PackagePictures(tuple(items), _stacked(pictures))


def procedural(n: int, rng: np.random.Generator) -> PackagePictures:
    """Gradients, clouds, stripes and dead leaves (Lee, Mumford & Huang 2001), whose statistics are those of photos."""
    kinds: dict[str, Callable[[np.random.Generator], Float[np.ndarray, "height width 3"]]] = {
        "gradient": _gradient,
        "clouds": _clouds,
        "stripes": _stripes,
        "leaves": _leaves,
        "scene": _scene,
    }
    # Leaves and scenes are nearest to photos: half of all pictures.
    names = rng.choice(list(kinds), n, p=[0.1, 0.2, 0.1, 0.3, 0.3])
    items = tuple(Item(f"procedural {row}", str(name), (str(name),), "", None) for row, name in enumerate(names))
    images = np.stack([(kinds[str(name)](rng).clip(0, 1) * 255).round().astype(np.uint8) for name in names])
    return PackagePictures(items, torch.from_numpy(images).permute(0, 3, 1, 2).contiguous())


def joined(parts: list[PackagePictures]) -> PackagePictures:
    """All pictures in one."""
    items = tuple(item for part in parts for item in part.items)
    return PackagePictures(items, torch.cat([part.images for part in parts]))


def _stacked(pictures: list[Image.Image]) -> UInt8[Tensor, "n 3 height width"]:
    return torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).permute(0, 3, 1, 2).contiguous()


def _colour(rng: np.random.Generator) -> Float[np.ndarray, 3]:
    """A colour: three in four are muted, as most of what is photographed is."""
    grey = rng.uniform()
    return grey + (rng.uniform(size=3) - grey) * (rng.beta(1.2, 3) if rng.uniform() < 0.75 else rng.uniform(0.5, 1))


def _gradient(rng: np.random.Generator) -> Float[np.ndarray, "height width 3"]:
    """From one colour to another along a line, or one colour alone."""
    y, x = np.mgrid[0:1:96j, 0:1:64j]
    angle = rng.uniform(0, 2 * np.pi)
    along = np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5)
    share = np.clip(along * rng.uniform(0, 1.4) + 0.5, 0, 1)[..., None]
    return _colour(rng) * (1 - share) + _colour(rng) * share


def _noise(rng: np.random.Generator, slope: float) -> Float[np.ndarray, "height width"]:
    """Noise whose amplitude falls as frequency ** -slope, in [0, 1]."""
    fy, fx = np.fft.fftfreq(96)[:, None], np.fft.rfftfreq(64)[None]
    size = np.maximum(np.hypot(fy, fx), 1 / 96) ** -slope
    phase = rng.normal(size=size.shape) + 1j * rng.normal(size=size.shape)
    field = np.fft.irfft2(size * phase, s=(96, 64))
    low, high = np.quantile(field, [0.02, 0.98])
    return ((field - low) / (high - low)).clip(0, 1)


def _clouds(rng: np.random.Generator) -> Float[np.ndarray, "height width 3"]:
    """Two or three colours mixed by fractal noise."""
    share = _noise(rng, rng.uniform(1, 2.2))[..., None]
    picture = _colour(rng) * (1 - share) + _colour(rng) * share
    if rng.uniform() < 0.5:
        other = _noise(rng, rng.uniform(1, 2.2))[..., None] ** 2
        picture = picture * (1 - other) + _colour(rng) * other
    return picture


def _stripes(rng: np.random.Generator) -> Float[np.ndarray, "height width 3"]:
    """Stripes or checks of two colours on a gradient."""
    y, x = np.mgrid[0:96, 0:64]
    angle, period = rng.uniform(0, np.pi), rng.uniform(6, 40)
    wave = np.sin(2 * np.pi * (np.cos(angle) * x + np.sin(angle) * y) / period)
    if rng.uniform() < 0.4:
        wave = wave * np.sin(2 * np.pi * (np.sin(angle) * x - np.cos(angle) * y) / period)
    share = np.clip(wave * rng.uniform(1, 8) + 0.5, 0, 1)[..., None]
    return _gradient(rng) * (1 - share) + _gradient(rng) * share


def _leaves(rng: np.random.Generator) -> Float[np.ndarray, "height width 3"]:
    """Overlapping discs and boxes whose sizes follow a power law; each has a shading of its own."""
    y, x = np.mgrid[0:96, 0:64]
    picture = _gradient(rng)
    palette = np.stack([_colour(rng) for _ in range(rng.integers(2, 6))])
    sizes = np.sort(4 / np.sqrt(rng.uniform(0.01, 1, rng.integers(8, 60))))[::-1]
    for size in sizes:
        cy, cx, angle = rng.uniform(-5, 101), rng.uniform(-5, 69), rng.uniform(0, np.pi)
        u = np.cos(angle) * (x - cx) + np.sin(angle) * (y - cy)
        v = (np.cos(angle) * (y - cy) - np.sin(angle) * (x - cx)) * rng.uniform(0.6, 1.7)
        distance = np.hypot(u, v) if rng.uniform() < 0.6 else np.maximum(abs(u), abs(v))
        inside = np.clip(size - distance + 0.5, 0, 1)[..., None]  # an edge of one pixel
        colour = palette[rng.integers(len(palette))] + rng.normal(0, 0.06, 3)
        shading = 1 + rng.uniform(-0.3, 0.3) * (u / size)[..., None]
        picture = picture * (1 - inside) + colour * shading * inside
    return picture


def _scene(rng: np.random.Generator) -> Float[np.ndarray, "height width 3"]:
    """Ground and sky with leaves of clouds between, blurred here and there, under one light, with a fine grain."""
    ground, leaves = _clouds(rng), _leaves(rng)
    horizon = np.clip((np.mgrid[0:96, 0:64][0] - rng.uniform(20, 80)) / rng.uniform(1, 30) + 0.5, 0, 1)[..., None]
    picture = _gradient(rng) * (1 - horizon) + ground * horizon
    mask = ndimage.gaussian_filter((_noise(rng, 1.8) > rng.uniform(0.35, 0.75)).astype(float), rng.uniform(0.3, 1.5))
    picture = picture * (1 - mask[..., None]) + leaves * mask[..., None]
    y, x = np.mgrid[-1:1:96j, -1:1:64j]
    distance = np.hypot(y - rng.uniform(-1, 1), x - rng.uniform(-1, 1))
    light = 1 + rng.uniform(0, 0.8) * (0.6 - distance)
    return picture * light[..., None] + rng.normal(0, rng.uniform(0, 0.015), picture.shape)
