"""Ranks and what is computed from them, person by person.

Protocol: full ranking over the items the user has not seen in training or validation (for validation: in training).
Ranks count from 1. Ties are resolved against the item in question: whatever scores the same stands before it, so that
a ranker that gives everything the same score gains nothing. Without ties the numbers are those of RecBole's evaluator,
which resolves ties by the order in which its top-k happens to come.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

if TYPE_CHECKING:
    from recsys.recbole.dataset import Dataset


# Scores of all items for a batch of users, (batch,) -> (batch, items).
Scorer = Callable[[Tensor], Tensor]


Phase = Literal["valid", "test"]


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
        Columns user, item (tokens) and rank; what somebody has in the part twice stands there once.

    Raises:
        ValueError: the score of a held-out item is not finite.
    """
    held_users, held_items = getattr(dataset.interactions, phase)
    if users is not None:
        keep = np.isin(held_users, np.asarray(users))
        held_users, held_items = held_users[keep], held_items[keep]
    once = np.sort(np.unique(held_users * dataset.n_items + held_items, return_index=True)[1])
    held_users, held_items = held_users[once], held_items[once]
    ranks = np.empty(len(held_users), np.int64)
    for some, scores, seen in _blocks(score, dataset, np.unique(held_users), phase, block):
        first, end = np.searchsorted(held_users, [some[0], some[-1] + 1])
        row, item = np.searchsorted(some, held_users[first:end]), held_items[first:end]
        scores = scores.cpu()
        own = scores[row, item]
        if not (finite := torch.isfinite(own)).all():
            at = int(finite.int().argmin())
            user, what = dataset.user_tokens[some[row[at]]], dataset.item_tokens[item[at]]
            raise ValueError(f"the score of item {what} for user {user} is {own[at].item()}, which has no rank")
        scores[seen] = -torch.inf
        scores[row, item] = own  # An item that was also seen earlier is still ranked, as RecBole does.
        ranks[first:end] = [int((scores[r] >= value).sum()) for r, value in zip(row, own, strict=True)]
    return pd.DataFrame(
        {"user": dataset.user_tokens[held_users], "item": dataset.item_tokens[held_items], "rank": ranks}
    )


@torch.no_grad()
def top_lists(
    score: Scorer,
    dataset: Dataset,
    *,
    k: int = 10,
    phase: Phase = "test",
    users: Sequence[int] | None = None,
    block: int = 256,
) -> pd.DataFrame:
    """What is recommended: each user's `k` best items among those that the user has not seen before this phase.

    Args:
        score: original scores, e.g. `lambda users: full_scores(ranker, users)`.
        dataset: the split.
        k: items a list. Somebody who has fewer unseen ones gets a shorter list.
        phase: decides what counts as seen. An item that was seen and is held out again is not recommended.
        users: internal ids; all who have held-out items in this phase by default.
        block: users scored at a time.

    Returns:
        Columns user, item (tokens), rank (from 1) and score, users in ascending order of internal id.

    Raises:
        ValueError: `k` is not between 1 and the number of items.
    """
    if not 1 <= k < dataset.n_items:
        raise ValueError(f"lists of k = {k} were asked for, but there are {dataset.n_items - 1} items")
    people = np.unique(getattr(dataset.interactions, phase)[0] if users is None else np.asarray(users, dtype=np.int64))
    best = np.empty((len(people), k), np.int64)
    values = np.empty((len(people), k), np.float32)
    start = 0
    for some, scores, seen in _blocks(score, dataset, people, phase, block):
        scores[seen] = -torch.inf
        found = scores.topk(k, dim=1)
        best[start : start + len(some)], values[start : start + len(some)] = found.indices.cpu(), found.values.cpu()
        start += len(some)
    row, place = np.nonzero(values > -np.inf)
    return pd.DataFrame(
        {
            "user": dataset.user_tokens[people[row]],
            "item": dataset.item_tokens[best[row, place]],
            "rank": place + 1,
            "score": values[row, place],
        }
    )


Seen = tuple[Int[Tensor, " seen"], Int[Tensor, " seen"]]


def _blocks(
    score: Scorer, dataset: Dataset, people: Int[np.ndarray, " people"], phase: Phase, block: int
) -> Iterator[tuple[Int[np.ndarray, " block"], Float[Tensor, "block items"], Seen]]:
    """A block of users at a time: ids, scores of all items (padding -inf), rows and columns of what they have seen."""
    parts = [dataset.interactions.train] + ([dataset.interactions.valid] if phase == "test" else [])
    users, items = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
    known = np.isin(users, people)
    row, items = np.searchsorted(people, users[known]), items[known]
    order = np.argsort(row, kind="stable")
    row, items = torch.from_numpy(row[order]), torch.from_numpy(items[order])
    for start in range(0, len(people), block):
        some = people[start : start + block]
        first, end = torch.searchsorted(row, torch.tensor([start, start + block])).tolist()
        scores = score(torch.from_numpy(some))
        scores[:, 0] = -torch.inf
        yield some, scores, (row[first:end] - start, items[first:end])


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Write all of a table or nothing; users and items as text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    frame.to_parquet(temporary, index=False)
    temporary.replace(path)
