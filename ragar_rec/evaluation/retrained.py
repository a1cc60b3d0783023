"""The frame of a ranker that was trained from scratch, for the protocol `catalogue`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from ragar_rec.evaluation.people import sample
from recsys.recbole.models import full_scores
from recsys.recbole.training import TrainedRanker
from recsys.scoring.metrics import per_user
from recsys.scoring.ranks import held_out_ranks

SPARSE = 5
"""Items with fewer training interactions than this are sparse; cold ones, which have none, are among them."""


def retrained_values(trained: TrainedRanker, k: int) -> Iterator[tuple[str, str, float]]:
    """Recall@k and NDCG@k of every test user with earlier interactions, full ranking.

    Where some held-out items are sparse and others are not, the metrics of the sparse ones alone follow, named
    ``ndcg@10 sparse``, for users who have any.

    Yields:
        User token, metric, value.
    """
    ranker: Any = trained.ranker
    dataset = trained.dataset
    ranks = held_out_ranks(
        lambda users: full_scores(ranker, users), dataset, phase="test", users=sample(dataset, count=0, seed=0)
    )
    clicks = np.bincount(dataset.interactions.train[1], minlength=dataset.n_items)
    sparse = ranks.loc[ranks["item"].isin(dataset.item_tokens[clicks < SPARSE].tolist())]
    slices: dict[str, pd.DataFrame] = {"": ranks}
    if 0 < len(sparse) < len(ranks):
        slices[" sparse"] = sparse
    for suffix, part in slices.items():
        for user, metric, value in per_user(part, k).itertuples(index=False, name=None):
            yield str(user), f"{metric}{suffix}", float(value)
