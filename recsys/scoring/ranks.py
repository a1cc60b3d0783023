"""Ranks of held-out items and top-k lists, per user.

Protocol: full ranking over the items the user has not seen in training or validation (for validation: in training).
Under the split `COLD` only the items withheld for the phase are ranked, unless `candidates` says otherwise.
Ranks count from 1. Ties count against the held-out item: it ranks below every item with the same score, so that a
ranker that gives all items the same score gains nothing. Without ties the numbers are those of RecBole's evaluator,
which breaks ties arbitrarily.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from recsys.recbole.splits import Among, HeldOutPhase
from recsys.settings import check_choice

if TYPE_CHECKING:
    from recsys.recbole.dataset import Dataset

Scorer = Callable[[Tensor], Tensor]
"""Scores of all items for a batch of users, (batch,) -> (batch, items)."""

Candidates = Among | Int[np.ndarray, " candidates"]
"""The items that are ranked: those of the split, all, or the given internal ids."""

# Rows (in a block of users) and items of interactions before the evaluated phase.
Seen = tuple[Int[Tensor, " seen"], Int[Tensor, " seen"]]


@torch.no_grad()
def held_out_ranks(
    score: Scorer,
    dataset: Dataset,
    *,
    phase: HeldOutPhase = "test",
    users: Sequence[int] | None = None,
    candidates: Candidates = "split",
    block: int = 256,
) -> pd.DataFrame:
    """The rank of every held-out item of every user, or of the given users.

    Args:
        score: original scores, e.g. `lambda users: full_scores(ranker, users)`.
        dataset: the split.
        phase: which part is held out.
        users: internal ids; by default all users with held-out items.
        candidates: the items that are ranked. A held-out item that is not one of them has no rank and no row.
        block: number of users scored at a time.

    Returns:
        Columns user, item (tokens) and rank; a repeated interaction counts once.

    Raises:
        ValueError: the score of a held-out item is not finite.
    """
    held_users, held_items = getattr(dataset.interactions, phase)
    if users is not None:
        selected = np.isin(held_users, np.asarray(users))
        held_users, held_items = held_users[selected], held_items[selected]
    ranked = _ranked_items(dataset, phase, candidates)
    held_users, held_items = held_users[ranked[held_items]], held_items[ranked[held_items]]
    # The first occurrence of each (user, item) pair, in the original order.
    first_occurrence = np.sort(np.unique(held_users * dataset.n_items + held_items, return_index=True)[1])
    held_users, held_items = held_users[first_occurrence], held_items[first_occurrence]
    ranks = np.empty(len(held_users), np.int64)
    for block_users, scores, seen in _blocks(score, dataset, np.unique(held_users), phase, ranked, block):
        start, end = np.searchsorted(held_users, [block_users[0], block_users[-1] + 1])
        row, item = np.searchsorted(block_users, held_users[start:end]), held_items[start:end]
        scores = scores.cpu()
        held_scores = scores[row, item]
        if not (finite := torch.isfinite(held_scores)).all():
            at = int(finite.int().argmin())
            user, token = dataset.user_tokens[block_users[row[at]]], dataset.item_tokens[item[at]]
            raise ValueError(
                f"the score of item {token} for user {user} is {held_scores[at].item()}, which has no rank"
            )
        scores[seen] = -torch.inf
        scores[row, item] = held_scores  # A held-out item that was also seen earlier is ranked, as RecBole does.
        # >= counts the item itself, hence ranks from 1, and all ties.
        ranks[start:end] = [int((scores[r] >= value).sum()) for r, value in zip(row, held_scores, strict=True)]
    return pd.DataFrame(
        {"user": dataset.user_tokens[held_users], "item": dataset.item_tokens[held_items], "rank": ranks}
    )


@torch.no_grad()
def top_lists(
    score: Scorer,
    dataset: Dataset,
    *,
    k: int = 10,
    phase: HeldOutPhase = "test",
    users: Sequence[int] | None = None,
    candidates: Candidates = "split",
    block: int = 256,
) -> pd.DataFrame:
    """Recommendation lists: each user's top `k` candidates among those the user has not seen before this phase.

    Args:
        score: original scores, e.g. `lambda users: full_scores(ranker, users)`.
        dataset: the split.
        k: items per list. A user with fewer unseen candidates gets a shorter list.
        phase: decides what counts as seen. An item that was seen and is held out again is not recommended.
        users: internal ids; by default all users with held-out items in this phase.
        candidates: the items that can be recommended.
        block: number of users scored at a time.

    Returns:
        Columns user, item (tokens), rank (from 1) and score, users in ascending order of internal id.

    Raises:
        ValueError: `k` is not between 1 and the number of items.
    """
    if not 1 <= k < dataset.n_items:
        raise ValueError(f"lists of k = {k} were asked for, but there are {dataset.n_items - 1} items")
    held_users = getattr(dataset.interactions, phase)[0]
    ranked_users = np.unique(held_users if users is None else np.asarray(users, dtype=np.int64))
    top_items = np.empty((len(ranked_users), k), np.int64)
    top_scores = np.empty((len(ranked_users), k), np.float32)
    ranked, start = _ranked_items(dataset, phase, candidates), 0
    for block_users, scores, seen in _blocks(score, dataset, ranked_users, phase, ranked, block):
        scores[seen] = -torch.inf
        top = scores.topk(k, dim=1)
        end = start + len(block_users)
        top_items[start:end], top_scores[start:end] = top.indices.cpu(), top.values.cpu()
        start = end
    row, position = np.nonzero(top_scores > -np.inf)
    return pd.DataFrame(
        {
            "user": dataset.user_tokens[ranked_users[row]],
            "item": dataset.item_tokens[top_items[row, position]],
            "rank": position + 1,
            "score": top_scores[row, position],
        }
    )


def _ranked_items(dataset: Dataset, phase: HeldOutPhase, candidates: Candidates) -> Bool[np.ndarray, " items"]:
    """Which items are ranked, by internal id; the padding item never is.

    Raises:
        ValueError: a candidate is no internal id of an item.
    """
    if isinstance(candidates, str):
        check_choice({"candidates": candidates}, "candidates", get_args(Among))
        chosen = dataset.candidates(phase) if candidates == "split" else None
    else:
        chosen = candidates
    if chosen is None:
        chosen = np.arange(1, dataset.n_items)
    unknown = (chosen < 1) | (chosen >= dataset.n_items)
    if unknown.any():
        raise ValueError(f"candidate {chosen[unknown][0]} is no item: internal ids are 1 to {dataset.n_items - 1}")
    ranked = np.zeros(dataset.n_items, bool)
    ranked[chosen] = True
    return ranked


def _blocks(
    score: Scorer,
    dataset: Dataset,
    users: Int[np.ndarray, " users"],
    phase: HeldOutPhase,
    ranked: Bool[np.ndarray, " items"],
    block: int,
) -> Iterator[tuple[Int[np.ndarray, " block"], Float[Tensor, "block items"], Seen]]:
    """Blocks of users: their ids, their scores (-inf for items that are not ranked), and the items they have seen.

    Args:
        score: scores of all items for a batch of users.
        dataset: the split.
        users: internal ids in ascending order.
        phase: what was seen before this phase counts as seen.
        ranked: which items are ranked.
        block: number of users per block.
    """
    earlier = [dataset.interactions.train] + ([dataset.interactions.valid] if phase == "test" else [])
    seen_users, seen_items = (np.concatenate([part[side] for part in earlier]) for side in (0, 1))
    selected = np.isin(seen_users, users)
    row, seen_items = np.searchsorted(users, seen_users[selected]), seen_items[selected]
    order = np.argsort(row, kind="stable")
    row, seen_items = torch.from_numpy(row[order]), torch.from_numpy(seen_items[order])
    not_ranked = torch.from_numpy(np.flatnonzero(~ranked))
    for start in range(0, len(users), block):
        block_users = users[start : start + block]
        first, end = torch.searchsorted(row, torch.tensor([start, start + block])).tolist()
        scores = score(torch.from_numpy(block_users))
        scores[:, not_ranked] = -torch.inf
        yield block_users, scores, (row[first:end] - start, seen_items[first:end])


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Write a table atomically: a killed process leaves the whole file or the previous one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    frame.to_parquet(temporary, index=False)
    temporary.replace(path)
