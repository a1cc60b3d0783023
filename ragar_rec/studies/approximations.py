"""What the ranker's approximations cost: sampled anchors in recall, inductive scores in agreement with a rebuild."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats

from ragar_rec.studies.dense_micro import DENSE_MICRO
from recsys.recbole.keys import with_ranker
from recsys.recbole.models import full_scores
from recsys.recbole.training import train_ranker
from recsys.scoring.counterfactual import Counterfactual
from recsys.scoring.metrics import per_user
from recsys.scoring.ranks import held_out_ranks
from recsys.scoring.statistics import Interval, paired_difference


def recall_difference(config: dict[str, Any], folder: Path, *, seeds: int, epochs: int) -> Interval:
    """Validation Recall@10 of MICRO minus that of the dense form, paired by person; a person's seeds are averaged.

    Both have the config's batch size and learning rate: it says what sampled anchors cost, not what the batch does.

    Args:
        config: RecBole's keys.
        folder: receives the trainings; those that are finished are reused.
        seeds: trainings of each form, with seeds 0, 1 ...
        epochs: of each training.
    """
    values = {}
    for name, settings in {"ours": config, "dense": with_ranker(config, DENSE_MICRO)}.items():
        by_seed = []
        for seed in range(seeds):
            changed = {**settings, "seed": seed, "epochs": epochs}
            trained = train_ranker(changed, folder / f"{name}-{seed}-{epochs}")
            ranks = held_out_ranks(
                lambda users, ranker=trained.ranker: full_scores(ranker, users), trained.dataset, phase="valid"
            )
            frame = per_user(ranks).pivot(index="user", columns="metric", values="value")
            by_seed.append(frame["recall@10"])
        values[name] = pd.concat(by_seed, axis=1).mean(axis=1)
    return paired_difference(values["ours"], values["dense"])


def agreement(config: dict[str, Any], folder: Path, *, pairs: int, epochs: int) -> tuple[float, float]:
    """Rank correlations with the *change* that an exact rebuild makes to a score when another item's image is shown.

    Args:
        config: RecBole's keys.
        folder: of the training.
        pairs: (user, item) pairs, each with the image of a random other item.
        epochs: of the training.

    Returns:
        Of the inductive change, and of the original score (what knowing nothing of the new image would give).
    """
    trained = train_ranker({**config, "epochs": epochs}, folder)
    ranker, dataset = trained.ranker, trained.dataset
    generator = torch.Generator().manual_seed(0)
    pictured = ranker.content.mask("image").nonzero().flatten()
    users = torch.randint(1, dataset.n_users, (pairs,), generator=generator)
    items, others = (pictured[torch.randint(len(pictured), (pairs,), generator=generator)] for _ in range(2))
    features = ranker.content.features("image")[others]
    with torch.no_grad():
        views = [Counterfactual(ranker, method=method) for method in ("inductive", "exact")]
        before = views[0].scores(users).gather(1, items[:, None])[:, 0]
        inductive, exact = (
            stats.rankdata((view.substitute(users, items, features) - before).numpy()) for view in views
        )
    original = stats.rankdata(before.numpy())
    return float(np.corrcoef(inductive, exact)[0, 1]), float(np.corrcoef(original, exact)[0, 1])
