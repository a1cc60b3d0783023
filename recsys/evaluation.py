"""Ranks and what is computed from them, person by person.

Protocol: full ranking over the items the user has not seen in training or validation (for validation: in training).
Ranks count from 1. Ties are resolved against the item in question: whatever scores the same stands before it, so that
a ranker that gives everything the same score gains nothing. Without ties the numbers are those of RecBole's evaluator,
which resolves ties by the order in which its top-k happens to come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

if TYPE_CHECKING:
    from recsys.recbole import Dataset

# Scores of all items for a batch of users, (batch,) -> (batch, items).
Scorer = Callable[[Tensor], Tensor]
Phase = Literal["valid", "test"]
Ranks = np.ndarray | int | float


def rank_of(scores: Float[Tensor, " items"], item: int, excluded: Sequence[int] | Int[np.ndarray, " seen"] = ()) -> int:
    """Rank, from 1, of one item among all that are not excluded; equal scores stand before it.

    The item itself counts even if it is among the excluded. Padding must score -inf or be excluded.
    """
    at_least = scores >= scores[item]
    at_least[torch.as_tensor(np.asarray(excluded, dtype=np.int64), device=scores.device)] = False
    at_least[item] = True
    return int(at_least.sum())


def delta_r(rank_original: Ranks, rank_generated: Ranks) -> np.ndarray | float:
    """Eq. 16: (rk_ori - rk_gen) / (1 + rk_ori), ranks from 1. Positive where the generated image ranks higher; < 1."""
    return (rank_original - rank_generated) / (1 + rank_original)


def recall_at(ranks: Int[np.ndarray, " held_out"], k: int) -> float:
    """Share of a user's held-out items with rank at most k."""
    return float(np.mean(ranks <= k))


def ndcg_at(ranks: Int[np.ndarray, " held_out"], k: int) -> float:
    """The sum over hits of 1/log2(rank + 1), divided by that of the best possible ranking of as many items."""
    hits = ranks[ranks <= k]
    ideal = np.arange(1, min(len(ranks), k) + 1)
    return float((1 / np.log2(hits + 1)).sum() / (1 / np.log2(ideal + 1)).sum())


def seen_before(dataset: Dataset, phase: Phase = "test") -> list[Int[np.ndarray, " seen"]]:
    """By user: the items that are no candidates in this phase, padding among them."""
    parts = [dataset.interactions.train] + ([dataset.interactions.valid] if phase == "test" else [])
    users, items = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
    order = np.argsort(users, kind="stable")
    starts = np.searchsorted(users[order], np.arange(1, dataset.n_users))
    return [np.append(seen, 0) for seen in np.split(items[order], starts)]


@torch.no_grad()
def held_out_ranks(
    score: Scorer, dataset: Dataset, *, phase: Phase = "test", users: Sequence[int] | None = None, block: int = 256
) -> pd.DataFrame:
    """The rank of every held-out item of every user (or of some).

    Args:
        score: original scores, e.g. `lambda users: full_scores(ranker, users)`.
        dataset: the split.
        phase: which part is held out.
        users: internal ids; all who have held-out items by default.
        block: users scored at a time.

    Returns:
        Columns user, item (tokens) and rank.
    """
    held_users, held_items = getattr(dataset.interactions, phase)
    if users is not None:
        keep = np.isin(held_users, np.asarray(users))
        held_users, held_items = held_users[keep], held_items[keep]
    seen = seen_before(dataset, phase)
    people, first = np.unique(held_users, return_index=True)
    rows = []
    for start in range(0, len(people), block):
        some = people[start : start + block]
        end = first[start + block] if start + block < len(people) else len(held_users)
        owner, items = held_users[first[start] : end], held_items[first[start] : end]
        scores = score(torch.from_numpy(some)).cpu()
        row_of, columns = torch.from_numpy(np.searchsorted(some, owner)), torch.from_numpy(items)
        own = scores[row_of, columns]
        for row, user in enumerate(some):
            scores[row, torch.from_numpy(seen[user])] = -torch.inf
        scores[row_of, columns] = own  # An item that was also seen earlier is still ranked, as RecBole does.
        for user, item, row, value in zip(owner, items, row_of, own, strict=True):
            rank = int((scores[row] >= value).sum())
            rows.append((dataset.user_tokens[user], dataset.item_tokens[item], rank))
    return pd.DataFrame(rows, columns=pd.Index(["user", "item", "rank"]))


def per_user(ranks: pd.DataFrame, k: int = 10) -> pd.DataFrame:
    """Recall@k and NDCG@k of every user from `held_out_ranks`.

    Returns:
        Columns user, metric (`recall@10`, `ndcg@10`) and value, users in order of first appearance.
    """
    rows = []
    for user, group in ranks.groupby("user", sort=False)["rank"]:
        values = group.to_numpy()
        rows.append((user, f"recall@{k}", recall_at(values, k)))
        rows.append((user, f"ndcg@{k}", ndcg_at(values, k)))
    return pd.DataFrame(rows, columns=pd.Index(["user", "metric", "value"]))
