"""Recall@k, NDCG@k and Delta R from ranks, per user."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Int

Ranks = np.ndarray | int | float
"""One rank or an array of ranks, from 1."""


def list_metric_name(metric: str) -> str:
    """A metric of lists as a heading: ``recall@10`` as Recall@10."""
    return metric.replace("recall@", "Recall@").replace("ndcg@", "NDCG@")


def delta_r(rank_original: Ranks, rank_generated: Ranks) -> np.ndarray | float:
    """Delta R (eq. 16), (rk_ori - rk_gen) / (1 + rk_ori): below 1, positive where the generated image ranks higher."""
    return (rank_original - rank_generated) / (1 + rank_original)


def recall_at(ranks: Int[np.ndarray, " held_out"], k: int) -> float:
    """Recall@k of one user: the share of the held-out items with rank at most k."""
    return float(np.mean(ranks <= k))


def ndcg_at(ranks: Int[np.ndarray, " held_out"], k: int) -> float:
    """NDCG@k of one user: the sum over hits of 1 / log2(rank + 1), divided by that of an ideal ranking."""
    hits = ranks[ranks <= k]
    ideal = np.arange(1, min(len(ranks), k) + 1)
    return float((1 / np.log2(hits + 1)).sum() / (1 / np.log2(ideal + 1)).sum())


def per_user(ranks: pd.DataFrame, k: int = 10) -> pd.DataFrame:
    """Recall@k and NDCG@k of every user, from the result of `held_out_ranks`.

    Returns:
        Columns user, metric (`recall@10`, `ndcg@10`) and value, users in order of first appearance.
    """
    rows = []
    for user, group in ranks.groupby("user", sort=False)["rank"]:
        values = group.to_numpy()
        rows.append((user, f"recall@{k}", recall_at(values, k)))
        rows.append((user, f"ndcg@{k}", ndcg_at(values, k)))
    return pd.DataFrame(rows, columns=pd.Index(["user", "metric", "value"]))
