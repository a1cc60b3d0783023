"""Write a toy shop: 80 products in four colours, and 60 people who each like one colour best.

Run it as `python toy_shop.py shop`.
"""

import csv
import random
import sys
from pathlib import Path

from PIL import Image, ImageDraw

COLOURS = {"red": (200, 40, 40), "green": (50, 160, 70), "blue": (50, 80, 200), "yellow": (230, 190, 40)}
SHAPES = ("ellipse", "rectangle")


def write_shop(folder: Path, products: int = 80, people: int = 60, clicks: int = 30) -> Path:
    """Write `catalog.csv`, `interactions.csv` and the pictures into a folder, and return it.

    Args:
        folder: made if it is missing.
        products: product n has colour n % 4.
        people: person n clicks on colour n % 4 five times as often as on another.
        clicks: clicks of a person, of which those on the same product count once.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rng, items = random.Random(0), []
    for n in range(products):
        colour, shape = list(COLOURS)[n % 4], SHAPES[n // 4 % 2]
        picture = Image.new("RGB", (120, 180), "white")
        getattr(ImageDraw.Draw(picture), shape)((20, 30 + n // 4, 100, 150), fill=COLOURS[colour])
        picture.save(folder / "images" / f"p{n}.png")
        items.append((f"p{n}", f"images/p{n}.png", f"{colour} {shape} {n}", f"{colour}|{shape}"))
    _write(folder / "catalog.csv", ("item_id", "image", "title", "tags"), items)
    rows = []
    for person in range(people):
        weights = [5 if n % 4 == person % 4 else 1 for n in range(products)]
        seen = dict.fromkeys(rng.choices(range(products), weights, k=clicks))
        rows += [(f"u{person}", f"p{n}", 1_700_000_000 + at) for at, n in enumerate(seen)]
    _write(folder / "interactions.csv", ("user_id", "item_id", "timestamp"), rows)
    return folder


def _write(path: Path, header: tuple[str, ...], rows: list[tuple]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


if __name__ == "__main__":
    write_shop(Path(sys.argv[1]))
