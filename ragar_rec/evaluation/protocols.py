"""Protocols: which of a user's items get new pictures, and how the ranks of the user's held-out items change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from recsys.recbole.dataset import Dataset
from recsys.recbole.splits import HeldOutPhase
from recsys.scoring.counterfactual import Counterfactual
from recsys.scoring.metrics import delta_r, ndcg_at, recall_at

ROWS = 256
"""Pictures that a ranker is asked about at a time: a graph's rows of so many items are in memory."""


@dataclass(frozen=True)
class Task:
    """The ranking task of one test user: the original scores of all items, and the held-out items to be found."""

    user: int
    targets: Int[np.ndarray, " held_out"]
    """Held-out items, oldest first."""
    seen: Int[np.ndarray, " seen"]
    """Items of training and validation, padding included: they are no candidates."""
    scores: Float[Tensor, " items"] = field(repr=False)
    """Original scores by internal item id, -inf for items that were seen."""

    def ranks(self, items: Int[np.ndarray, " n"], scores: Float[Tensor, " n"]) -> Int[np.ndarray, " n"]:
        """Rank, from 1, of each item if it alone had this new score; items of equal score rank before it."""
        # The number of items that score at least this.
        at_least = torch.searchsorted(self._negated, -scores.contiguous(), right=True)
        # The item's own original score is among them if it is high enough; no item ranks before itself.
        counts_itself = self.scores[torch.from_numpy(items)] >= scores
        return (at_least - counts_itself.long() + 1).numpy()

    @cached_property
    def ranking(self) -> Int[np.ndarray, " candidates"]:
        """Items that were not seen, the best first by their original scores."""
        candidates = int(torch.isfinite(self.scores).sum())
        return self.scores.sort(descending=True, stable=True).indices[:candidates].numpy()

    @cached_property
    def _negated(self) -> Float[Tensor, " items"]:
        """Original scores with the other sign, ascending, as searchsorted wants them."""
        return -self.scores.sort(descending=True).values


@runtime_checkable
class FeatureSource(Protocol):
    """New features for a user's items, of generated or substituted pictures; where it has none the originals stay."""

    def features(self, user: int, items: Int[np.ndarray, " n"]) -> tuple[Float[Tensor, "n dim"], Bool[Tensor, " n"]]:
        """Features of these items for this user, and a mask of those that are present; the other rows mean nothing."""
        ...


@runtime_checkable
class EvaluationProtocol(Protocol):
    """The items of a task that get new features, and the held-out items' ranks afterwards."""

    name: ClassVar[str]

    def items(self, task: Task) -> Int[np.ndarray, " n"]:
        """Items that get new features."""
        ...

    def ranks(self, task: Task, scores: Float[Tensor, " n"]) -> tuple[np.ndarray, np.ndarray]:
        """Ranks of the judged held-out items before and after, given new scores of :meth:`items`."""
        ...


@dataclass(frozen=True)
class Reference:
    """Each held-out item alone gets a new picture, as in the paper's Table 4. *Privileged: the target is known.*

    Args:
        targets: at most this many held-out items per user, the earliest; 0 for all.
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
    """The user's original top ``c`` get new pictures and are re-ranked among themselves: Recall@c cannot change."""

    name: ClassVar[str] = "candidates"
    c: int = 10

    def items(self, task: Task) -> Int[np.ndarray, " n"]:
        return task.ranking[: self.c]

    def ranks(self, task: Task, scores: Float[Tensor, " n"]) -> tuple[np.ndarray, np.ndarray]:
        before = task.ranks(task.targets, task.scores[torch.from_numpy(task.targets)])
        items = self.items(task)
        # Targets outside the top keep their rank; those inside get the rank that the top's own order gives them, which
        # differs from `Task.ranks` where scores are equal.
        old = {int(item): rank for rank, item in enumerate(items, start=1)}
        # Equal new scores keep the original order.
        order = np.lexsort((np.arange(len(items)), -scores.double().numpy()))
        new = {int(items[at]): rank for rank, at in enumerate(order, start=1)}
        before = np.array([old.get(int(t), rank) for t, rank in zip(task.targets, before, strict=True)])
        after = np.array([new.get(int(t), rank) for t, rank in zip(task.targets, before, strict=True)])
        return before, after


def tasks(
    dataset: Dataset, view: Counterfactual, users: Int[np.ndarray, " n"] | list[int], phase: HeldOutPhase = "test"
) -> list[Task]:
    """The ranking task of each of these users, under a ranker's original scores.

    For validation, that part's interactions are to be found, and those of the test count for nothing. Under the split
    `COLD` the items withheld for the phase are ranked among each other, as by `held_out_ranks`.
    """
    candidates = dataset.candidates(phase)
    train, held_out = dataset.interactions.train, getattr(dataset.interactions, phase)
    nobody = (np.empty(0, np.int64), np.empty(0, np.int64))
    valid = dataset.interactions.valid if phase == "test" else nobody
    user_tasks = []
    for user in users:
        seen = np.unique(np.concatenate([[0], train[1][train[0] == user], valid[1][valid[0] == user]]))
        targets = held_out[1][held_out[0] == user]
        scores = view.scores(torch.tensor([user]))[0].detach().cpu()
        target_scores = scores[torch.from_numpy(targets)]
        scores[torch.from_numpy(seen)] = -torch.inf
        if candidates is not None:
            scores[torch.from_numpy(np.setdiff1d(np.arange(len(scores)), candidates))] = -torch.inf
        scores[torch.from_numpy(targets)] = target_scores  # a target that was seen too is still ranked, as RecBole does
        user_tasks.append(Task(int(user), targets, seen, scores))
    return user_tasks


def measure(
    protocol: EvaluationProtocol, task: Task, view: Counterfactual, sources: Sequence[FeatureSource | None], k: int
) -> list[Mapping[str, float]]:
    """Recall@k, NDCG@k and Delta R (eq. 16) of one user under each source of features; ``None``: the original ones."""
    metrics = []
    for scores in _new_scores(protocol.items(task), task, view, sources):
        before, after = protocol.ranks(task, scores)
        delta = float(np.mean(delta_r(before, after)))
        metrics.append({f"recall@{k}": recall_at(after, k), f"ndcg@{k}": ndcg_at(after, k), "delta_r": delta})
    return metrics


@torch.no_grad()
def _new_scores(
    items: Int[np.ndarray, " n"], task: Task, view: Counterfactual, sources: Sequence[FeatureSource | None]
) -> Float[Tensor, "sources n"]:
    """Scores of the items under each source, the original ones where it has no picture; by few calls of the ranker."""
    scores = task.scores[torch.from_numpy(items)].repeat(len(sources), 1)
    replaced = torch.zeros(scores.shape, dtype=torch.bool)
    pictures: list[Tensor] = []
    for row, source in enumerate(sources):
        if source is not None and len(items):
            features, present = source.features(task.user, items)
            replaced[row] = present
            pictures.append(features[present])
    if replaced.any():
        user, changed = torch.tensor([task.user]), torch.from_numpy(items).expand_as(scores)[replaced]
        blocks = zip(changed.split(ROWS), torch.cat(pictures).split(ROWS), strict=True)
        scores[replaced] = torch.cat([view.substitute(user.expand(len(rows)), rows, new).cpu() for rows, new in blocks])
    return scores
