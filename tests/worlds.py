"""Small worlds whose right answer is known beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recsys.features import FeatureTable
from recsys.recbole.models import full_scores
from recsys.recbole.training import TrainedRanker


@dataclass(frozen=True)
class Checkerboard:
    """Even users like even items, odd users odd ones; an item's image shows its parity.

    Attributes:
        config: RecBole keys that load it (leave-one-out, so that withheld items are validation and test).
        parity: 0 or 1 by token of users ("u3") and of items ("i7", withheld "w2", nobody's "n0").
        withheld: items without a training interaction: their parity shows in the image alone.
        lonely: items without any interaction; "n1" has no image either.
        image: the feature table on disk.
    """

    config: dict[str, Any]
    parity: dict[str, int]
    withheld: list[str]
    lonely: list[str]
    image: Path


def checkerboard(
    folder: Path, *, n_users: int = 60, n_items: int = 60, n_withheld: int = 40, width: int = 8, seed: int = 0
) -> Checkerboard:
    """Write the world to `folder`.

    Every user clicks 10 of the `n_items / 2` ordinary items of its parity, then two withheld ones of its parity. The
    image is (+1, +1, -1, -1, ...) or its negative by parity, plus normal noise of 0.5: with `width` 8 two images of
    one parity have cosine 8 / (8 + 8 * 0.25) = 0.8 on average, of different parity -0.8.
    """
    rng = np.random.default_rng(seed)
    items, withheld, lonely = _names("i", n_items), _names("w", n_withheld), ["n0", "n1"]
    users = _names("u", n_users)
    parity = {name: int(name[1:]) % 2 for name in (*users, *items, *withheld, *lonely)}
    lines = []
    for user in users:
        own = [item for item in items if parity[item] == parity[user]]
        held = [item for item in withheld if parity[item] == parity[user]]
        clicks = [*rng.choice(own, 10, replace=False), *rng.choice(held, 2, replace=False)]
        lines += [f"{user}\t{item}\t1\t{1_000_000_000 + time}" for time, item in enumerate(clicks)]

    home = folder / "checkerboard"
    home.mkdir(parents=True)
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
    (home / "checkerboard.inter").write_text("\n".join([header, *lines]) + "\n")
    catalogue = [*items, *withheld, *lonely]
    (home / "checkerboard.item").write_text("\n".join(["item_id:token", *catalogue]) + "\n")

    pattern = np.tile([1.0, 1.0, -1.0, -1.0], width)[:width]
    shown = [item for item in catalogue if item != "n1"]
    sign = np.array([1 - 2 * parity[item] for item in shown])[:, None]
    image = home / "image.safetensors"
    FeatureTable(tuple(shown), (sign * pattern + rng.normal(0, 0.5, (len(shown), width))).astype(np.float32)).write(
        image
    )
    config = {
        "data_path": str(folder),
        "dataset": "checkerboard",
        "eval_args": {"split": {"LS": "valid_and_test"}},
        "train_batch_size": 128,
        "embedding_size": 16,
        "learning_rate": 0.01,
        "eval_step": 5,
        "epochs": 30,
        "use_gpu": False,
        "seed": 7,
    }
    return Checkerboard(config, parity, withheld, lonely, image)


def _names(letter: str, count: int) -> list[str]:
    return [f"{letter}{number}" for number in range(count)]


def withheld_scores(world: Checkerboard, trained: TrainedRanker) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores of the withheld items by every user, and which of them are of the user's parity."""
    dataset = trained.dataset
    scores = full_scores(trained.ranker, torch.arange(1, dataset.n_users))
    scores = scores[:, [dataset.item_id(name) for name in world.withheld]]
    parity = torch.tensor([world.parity[name] for name in world.withheld])
    users = torch.tensor([world.parity[name] for name in dataset.user_tokens[1:]])
    return scores, users[:, None] == parity


def right_parity_first(world: Checkerboard, trained: TrainedRanker) -> float:
    """Share of users whose first among the withheld items has their parity; 0.5 by chance."""
    scores, right = withheld_scores(world, trained)
    return float(right.gather(1, scores.argmax(1, keepdim=True)).float().mean())
