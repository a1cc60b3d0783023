"""Protocols: which of a user's items get new pictures, and what that does to the ranks of her held-out items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from recsys.recbole.dataset import Dataset
from recsys.scoring.counterfactual import Counterfactual
from recsys.scoring.metrics import delta_r, ndcg_at, recall_at


@dataclass(frozen=True)
class Task:
    """One person of the test: what may be recommended, and what turned out right."""

    user: int
    targets: Int[np.ndarray, " held_out"]
    """Held-out items, oldest first."""
    seen: Int[np.ndarray, " seen"]
    """Items of training and validation, padding included: no candidates."""
    scores: Float[Tensor, " items"] = field(repr=False)
    """Original scores, -inf for what was seen."""

    def ranks(self, items: Int[np.ndarray, " n"], scores: Float[Tensor, " n"]) -> Int[np.ndarray, " n"]:
        """Rank from 1 of each item if it alone scored this; equal scores stand before it."""
        order = self.scores.sort(descending=True).values
        above = torch.searchsorted(-order, -scores.contiguous(), right=True)  # how many score at least this
        own_before = self.scores[torch.from_numpy(items)] >= scores
        return (above - own_before.long() + 1).numpy()


@runtime_checkable
class Source(Protocol):
    """(user, items) -> features: a generator and an encoder, or plain substitution. Rows it lacks keep the original."""

    def features(self, user: int, items: Int[np.ndarray, " n"]) -> tuple[Float[Tensor, "n dim"], Bool[Tensor, " n"]]:
        """Features of these items for this user, and which of them there are."""
        ...


@runtime_checkable
class Reranking(Protocol):
    """A protocol: the items of a task that get new features, and the held-out items' ranks afterwards."""

    name: ClassVar[str]

    def items(self, task: Task) -> Int[np.ndarray, " n"]: ...

    def ranks(self, task: Task, scores: Float[Tensor, " n"]) -> tuple[np.ndarray, np.ndarray]:
        """Ranks of the judged held-out items before and after, given new scores of :meth:`items`."""
        ...


@dataclass(frozen=True)
class Reference:
    """As in the paper's Table 4: for each held-out item alone. *Privileged: the target is known.*

    Args:
        targets: at most this many held-out items a person, the earliest; 0 for all.
    """

    name: ClassVar[str] = "reference"
    targets: int = 0

    def items(self, task: Task) -> Int[np.ndarray, " n"]:
        return task.targets[: self.targets or None]

    def ranks(self, task: Task, scores: Float[Tensor, " n"]) -> tuple[np.ndarray, np.ndarray]:
        items = self.items(task)
        return task.ranks(items, task.scores[torch.from_numpy(items)]), task.ranks(items, scores)


@dataclass(frozen=True)
class Candidates:
    """Every item of the user's original top ``c``, re-ranked among themselves, so that Recall@c cannot change."""

    name: ClassVar[str] = "candidates"
    c: int = 10

    def items(self, task: Task) -> Int[np.ndarray, " n"]:
        allowed = int(torch.isfinite(task.scores).sum())
        return task.scores.sort(descending=True, stable=True).indices[: min(self.c, allowed)].numpy()

    def ranks(self, task: Task, scores: Float[Tensor, " n"]) -> tuple[np.ndarray, np.ndarray]:
        before = task.ranks(task.targets, task.scores[torch.from_numpy(task.targets)])
        items = self.items(task)
        old = {int(item): rank for rank, item in enumerate(items, start=1)}
        # Equal new scores keep the original order.
        order = np.lexsort((np.arange(len(items)), -scores.double().numpy()))
        new = {int(items[at]): rank for rank, at in enumerate(order, start=1)}
        before = np.array([old.get(int(t), rank) for t, rank in zip(task.targets, before, strict=True)])
        after = np.array([new.get(int(t), rank) for t, rank in zip(task.targets, before, strict=True)])
        return before, after


def tasks(dataset: Dataset, view: Counterfactual, users: Int[np.ndarray, " n"] | list[int]) -> list[Task]:
    """The test as it stands for each of these people."""
    train, valid, test = dataset.interactions.train, dataset.interactions.valid, dataset.interactions.test
    made = []
    for user in users:
        seen = np.unique(np.concatenate([[0], train[1][train[0] == user], valid[1][valid[0] == user]]))
        targets = test[1][test[0] == user]
        scores = view.scores(torch.tensor([user]))[0].detach().cpu()
        kept = scores[torch.from_numpy(targets)]
        scores[torch.from_numpy(seen)] = -torch.inf
        scores[torch.from_numpy(targets)] = kept  # an item that was seen earlier too is still ranked, as RecBole does
        made.append(Task(int(user), targets, seen, scores))
    return made


def measure(
    protocol: Reranking, task: Task, view: Counterfactual, source: Source | None, k: int
) -> Mapping[str, float]:
    """Recall@k, NDCG@k and Delta R of one person under one source of features; ``None``: the original ones."""
    items = protocol.items(task)
    scores = task.scores[torch.from_numpy(items)].clone()
    if source is not None and len(items):
        features, there = source.features(task.user, items)
        if there.any():
            index, shown = torch.from_numpy(items)[None, there], features[None, there]
            with torch.no_grad():
                scores[there] = view.substitute_lists(torch.tensor([task.user]), index, shown)[0].cpu()
    before, after = protocol.ranks(task, scores)
    return {
        f"recall@{k}": recall_at(after, k),
        f"ndcg@{k}": ndcg_at(after, k),
        "delta_r": float(np.mean(delta_r(before, after))),
    }
