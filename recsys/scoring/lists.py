"""Recommendation lists: what they cover, how popular their items are, and how far two lists of one user agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from recsys.scoring.ranks import Scorer

if TYPE_CHECKING:
    from recsys.recbole.dataset import Dataset

PERSISTENCE = 0.9
"""p of rank-biased overlap: the first ten ranks carry 86 % of its weight (Webber et al. 2010, eq. 21)."""


def catalogue_coverage(lists: pd.DataFrame, n_items: int) -> float:
    """Share of the catalogue's items that stand in at least one list (Ge, Delgado-Battenfeld & Jannach 2010).

    Args:
        lists: what `top_lists` returned; the column `item` is read.
        n_items: items of the catalogue, without padding.
    """
    return lists["item"].nunique() / n_items


def mean_popularity(lists: pd.DataFrame, dataset: Dataset) -> pd.Series:
    """Mean number of training interactions of the items in each user's list; its mean over users is known as ARP
    (average recommendation popularity; Yin et al. 2012, "Challenging the long tail recommendation").
    """
    counts = np.bincount(dataset.interactions.train[1], minlength=dataset.n_items)
    by_token = pd.Series(counts, index=dataset.item_tokens)
    return pd.Series(by_token.reindex(lists["item"]).groupby(lists["user"].to_numpy()).mean())


def list_agreement(a: pd.DataFrame, b: pd.DataFrame, *, p: float = PERSISTENCE) -> pd.DataFrame:
    """Agreement of two lists of each user: columns `changed`, `jaccard` and `rbo`, indexed by user.

    `changed` is the share of the places of `a` whose item is not in `b`.

    Raises:
        ValueError: the two are not about the same users, or a user's lists differ in length.
    """
    left, right = (dict(iter(_ranked(lists).groupby("user", sort=False)["item"])) for lists in (a, b))
    if left.keys() != right.keys():
        raise ValueError(f"agreement needs two lists of the same people, got {len(left)} and {len(right)} people")
    rows = {}
    for user, items in left.items():
        first, second = items.tolist(), right[user].tolist()
        rows[user] = (1 - len(set(first) & set(second)) / len(first), jaccard(first, second), rbo(first, second, p=p))
    return pd.DataFrame(rows, index=pd.Index(["changed", "jaccard", "rbo"])).T


def jaccard(a: Sequence[str], b: Sequence[str]) -> float:
    """Jaccard similarity of two lists as sets: shared items over all items; 1 for the same items in any order."""
    return len(set(a) & set(b)) / len(set(a) | set(b))


def rbo(a: Sequence[str], b: Sequence[str], *, p: float = PERSISTENCE) -> float:
    """Rank-biased overlap of two lists of equal length, extrapolated (Webber, Moffat & Zobel 2010, eq. 30).

    RBO_ext = X_k / k p^k + (1 - p) / p sum over d = 1 ... k of X_d / d p^d, where X_d is the number of items that the
    first d places of both share. 1 for the same list, 0 for lists without a common item; the first places count most.

    Raises:
        ValueError: the lists are empty or differ in length, or `p` does not lie between 0 and 1.
    """
    if not 0 < p < 1:
        raise ValueError(f"p of rank-biased overlap is {p}, but must lie between 0 and 1")
    if not a or len(a) != len(b):
        raise ValueError(f"rank-biased overlap compares two lists of equal length, got {len(a)} and {len(b)} items")
    depths = np.arange(1, len(a) + 1)
    agreement = np.array([len(set(a[:depth]) & set(b[:depth])) / depth for depth in depths])
    return float(agreement[-1] * p ** len(a) + (1 - p) / p * (agreement * p**depths).sum())


def substituted_scorer(
    score: Scorer, users: Int[np.ndarray, " n"], items: Int[np.ndarray, " n"], values: Float[Tensor, " n"]
) -> Scorer:
    """A scorer in which these (user, item) pairs have other scores, and all others those of `score`.

    Args:
        score: original scores.
        users: internal ids, in any order.
        items: internal ids.
        values: the new scores.
    """
    order = np.argsort(users, kind="stable")
    sorted_users, sorted_items, sorted_values = users[order], torch.from_numpy(items[order]), values[order]

    def scores(batch: Tensor) -> Tensor:
        changed = score(batch).clone()
        for row, user in enumerate(batch.tolist()):
            start, end = np.searchsorted(sorted_users, [user, user + 1])
            changed[row, sorted_items[start:end]] = sorted_values[start:end].to(changed)
        return changed

    return scores


def _ranked(lists: pd.DataFrame) -> pd.DataFrame:
    return lists.sort_values(["user", "rank"], kind="stable")
