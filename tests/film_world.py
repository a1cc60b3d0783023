"""A MovieLens folder of two dozen films, and the smallest run that goes through every stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image, ImageDraw

from ragar_rec.config.config import Config
from ragar_rec.experiment import Experiment

FILMS = 24
PEOPLE = 30
RATINGS = 12
GENRES = ("Comedy", "Horror", "Western", "Drama")
HOLE = "24"
"""The film without a poster."""

TINY: dict[str, Any] = {
    "model": "MICRO",
    "dataset": "ml-latest",
    "TIME_FIELD": "position",
    "load_col": {"inter": ["user_id", "item_id", "position"], "item": ["item_id"]},
    "epochs": 2,
    "eval_step": 1,
    "embedding_size": 8,
    "knn_k": 3,
    "topk": [10],
    "valid_metric": "Recall@10",
    "train_batch_size": 128,
    "use_gpu": False,
    "catalog": {"preparer": "ml-latest"},
    "features": {"text_dim": 8, "image_height": 192, "image_width": 128},
    "pictures": {"fit": "crop"},
    "backbone": {
        "image_height": 32,
        "image_width": 32,
        "latent_channels": 8,
        "unet_widths": [32, 32],
        "encoder_width": 32,
        "encoder_layers": 1,
        "embed_dim": 16,
        "vocab_size": 600,
        "context": 24,
        "encoder_steps": 3,
        "unet_steps": 3,
        "start": "scratch",
        "batch_size": 8,
    },
    "language": {"hidden_size": 32, "layers": 1, "vocab_size": 400, "steps": 2},
    "generator": {
        "k": 2,
        "history_length": 6,
        "n_keywords": 3,
        "image_tokens": 2,
        "text_rows": 4,
        "mapper_width": 32,
        "mapper_layers": 1,
        "steps": 2,
    },
    "reflection": {"warm_start_steps": 2, "reward_steps": 2, "batch_size": 4, "samples": 2, "rank": 4},
    "evaluation": {"users": 6, "candidates": 3, "targets": 2, "batch_size": 8, "resamples": 50, "report_users": 2},
    "diagnosis": {"pictures": 10, "draws": 2, "users": 0, "optimised": 3, "steps": 2},
}


def film_folder(folder: Path, *, seed: int = 0) -> Path:
    """``ratings.csv``, ``movies.csv`` and ``posters/<id>.jpg``: film n is of genre n % 4, and its poster shows it."""
    rng = np.random.default_rng(seed)
    (folder / "posters").mkdir(parents=True)
    films = [str(number + 1) for number in range(FILMS)]
    lines = [f'{film},"Story {film} ({1950 + 3 * n})",{GENRES[n % 4]}|Adventure' for n, film in enumerate(films)]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *lines]) + "\n")
    ratings = ["userId,movieId,rating,timestamp"]
    for person in range(PEOPLE):
        weight = np.array([4.0 if n % 4 == person % 4 else 1.0 for n in range(FILMS)])
        seen = rng.choice(FILMS, RATINGS, replace=False, p=weight / weight.sum())
        ratings += [f"{person + 1},{films[n]},4.0,{1_000_000_000 + 60 * at}" for at, n in enumerate(seen)]
    (folder / "ratings.csv").write_text("\n".join(ratings) + "\n")
    for n, film in enumerate(films):
        if film != HOLE:
            save_poster(poster(n), folder / "posters" / f"{film}.jpg")
    return folder


def poster(n: int) -> Image.Image:
    """The genre's colour with a shape of the film's own."""
    ground = ((230, 190, 40), (30, 20, 40), (170, 90, 40), (60, 100, 170))[n % 4]
    picture = Image.new("RGB", (32, 48), ground)
    brush = ImageDraw.Draw(picture)
    brush.ellipse((4, 6 + n, 12 + n % 16, 20 + n), fill=(255 - 9 * n, 10 * n, 128))
    return picture


def save_poster(picture: Image.Image, file: Path) -> None:
    """As JPEG whose blocks of 8 x 8 pixels do not run into each other."""
    picture.save(file, quality=95, subsampling=0)


def config_file(folder: Path, **changes: Any) -> Path:
    """``tiny.yaml``, with other values for some RecBole keys or (dotted by ``__``) for keys of a section; None leaves
    a key out."""
    tree: dict[str, Any] = yaml.safe_load(yaml.safe_dump(TINY))
    for name, value in changes.items():
        section, _, key = name.partition("__")
        if key:
            tree[section][key] = value
        elif value is None:
            del tree[name]
        else:
            tree[name] = value
    file = folder / "tiny.yaml"
    file.write_text(yaml.safe_dump(tree))
    return file


def open_run(config: Path, data: Path, output: Path, *, weights: Path | None = None) -> Experiment:
    """The run, without bars."""
    return Experiment(Config.read(config), output, data=data, weights=weights, progress=False)
