"""Sheets: pictures in a grid, to look at."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageDraw
from torch import Tensor

from generation.pictures import to_bytes, to_float, to_pil

SCALE = 2
"""Pixels of a sheet for a pixel of a picture."""
GAP = 6
"""Pixels between pictures."""
TOP = 24
"""Pixels of the line of names."""
NUMBERS = 20
"""Pixels of the column of rows' numbers."""


def save_sheet(columns: Mapping[str, Tensor], file: Path, *, numbered: bool = False) -> None:
    """Write pictures as a grid.

    Args:
        columns: pictures of shape (n, 3, height, width) in [0, 1] by the name above them; n may differ.
        file: whose suffix says the format.
        numbered: write the numbers of the rows, from 1, before them.
    """
    height, width = (SCALE * side for side in next(iter(columns.values())).shape[-2:])
    longest = max(map(len, columns.values()))
    margin = GAP + (NUMBERS if numbered else 0)
    canvas = Image.new("RGB", (len(columns) * (width + GAP) + margin, longest * (height + GAP) + TOP), "white")
    pen = ImageDraw.Draw(canvas)
    for row in range(longest if numbered else 0):
        pen.text((GAP, TOP + row * (height + GAP)), str(row + 1), fill="black")
    for column, (name, images) in enumerate(columns.items()):
        left = margin + column * (width + GAP)
        pen.text((left, GAP), name, fill="black")
        for row, image in enumerate(to_bytes(images)):
            # Whole pixels: a smooth enlargement would hide what the generator draws.
            large = to_pil(image).resize((width, height), Image.Resampling.NEAREST)
            canvas.paste(large, (left, TOP + row * (height + GAP)))
    canvas.save(file)


def save_closest(
    kinds: Mapping[str, Tensor], neighbours: Mapping[str, tuple[Tensor, Tensor]], training: Tensor, n: int, file: Path
) -> None:
    """Write the pictures of each kind that are nearest to a training picture, beside it.

    Args:
        kinds: pictures by kind.
        neighbours: of each kind, every picture's distance to its nearest training picture, and the row of that one.
        training: bytes of the training pictures.
        n: pictures of each kind.
        file: receives the sheet.
    """
    columns = {}
    for name, images in kinds.items():
        distance, row = neighbours[name]
        first = distance.argsort()[:n]
        columns[name], columns[f"nearest to {name}"] = images[first], to_float(training[row[first]])
    save_sheet(columns, file)
