"""Ownership: is a picture worth more to the person whom it was made for than to others?

Among the people who have pictures of the same item, whose picture is shown is permuted; no new picture is needed. If
pictures are not personal, any assignment is as good as the observed one (Fisher's randomisation test).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int

from ragar_rec.evaluation.protocols import Candidates, Task

PERMUTED_OWNERS = "permuted_owners"
"""Name of the control: a user's mean over the permutations."""

BATCH = 100
"""Permutations that are held at a time."""


@dataclass(frozen=True)
class ItemScores:
    """What an item would score for each of its viewers with each picture that was made of it.

    Attributes:
        viewers: internal ids of the users in whose list the item is, each with a picture of their own.
        scores: a row for each viewer, a column for each picture; the first columns are the viewers' own pictures, in
            the order of the rows.
    """

    viewers: Int[np.ndarray, " viewers"]
    scores: Float[np.ndarray, "viewers pictures"]


@dataclass(frozen=True)
class OwnershipTest:
    """Own pictures against permuted owners.

    Attributes:
        own: a metric for each user whose items show the user's own pictures.
        permuted: the mean of the metric over the permutations, for each user.
        draws: the mean of the metric over users, for each permutation.
    """

    own: pd.Series
    permuted: pd.Series
    draws: Float[np.ndarray, " permutations"]

    @property
    def p(self) -> float:
        """Probability of a mean as high as that of the own pictures if ownership does not matter."""
        return permutation_p(float(self.own.mean()), self.draws)


def permutation_p(observed: float, draws: Float[np.ndarray, " permutations"]) -> float:
    """One-sided p-value of a randomisation test, the observed assignment counted as one (Phipson and Smyth 2010)."""
    # Sums over users in another order differ in the last bits.
    return float((1 + (draws >= observed - 1e-12).sum()) / (1 + len(draws)))


class Lists:
    """The lists of many users as arrays, to be ranked again and again.

    Args:
        tasks: of the users, each once.
        protocol: says which items are in a user's list.
        metric: ``ndcg`` or ``recall``.
        k: length of the list that the metric looks at.
    """

    def __init__(self, tasks: Sequence[Task], protocol: Candidates, metric: str, k: int) -> None:
        self.users = [task.user for task in tasks]
        items = [protocol.items(task) for task in tasks]
        shape = len(tasks), max(map(len, items), default=0)
        self.scores, self.relevance = np.full(shape, -np.inf), np.zeros(shape)
        """Original scores and numbers of held-out interactions, in the original order of each list."""
        self.slots: dict[tuple[int, int], int] = {}
        """(user, item) -> position in the flattened arrays."""
        self.discount = 1 / np.log2(np.arange(k) + 2) if metric == "ndcg" else np.ones(k)
        self.outside, self.ideal = np.zeros(len(tasks)), np.zeros(len(tasks))
        for row, (task, listed) in enumerate(zip(tasks, items, strict=True)):
            self.scores[row, : len(listed)] = task.scores[torch.from_numpy(listed)].double().numpy()
            self.relevance[row, : len(listed)] = (task.targets == listed[:, None]).sum(1)
            self.slots |= {(task.user, int(item)): row * shape[1] + at for at, item in enumerate(listed)}
            # Held-out items outside of the list keep their ranks; they count if the list is shorter than k.
            others = task.targets[~np.isin(task.targets, listed)]
            ranks = task.ranks(others, task.scores[torch.from_numpy(others)])
            self.outside[row] = self.discount[ranks[ranks <= k] - 1].sum()
            n = len(task.targets)
            self.ideal[row] = self.discount[:n].sum() if metric == "ndcg" else n

    def metric(self, scores: Float[np.ndarray, "n users width"]) -> Float[np.ndarray, "n users"]:
        """The metric of every user if the lists' items had these scores; equal scores keep the original order."""
        order = np.argsort(-scores, axis=-1, kind="stable")[..., : len(self.discount)]
        hits = np.take_along_axis(np.broadcast_to(self.relevance, scores.shape), order, axis=-1)
        return ((hits * self.discount[: hits.shape[-1]]).sum(-1) + self.outside) / self.ideal


def ownership_test(lists: Lists, items: Mapping[int, ItemScores], *, permutations: int, seed: int) -> OwnershipTest:
    """Compare the lists that show everybody's own pictures with lists in which the owners are permuted.

    For each item, its viewers are shown pictures drawn without replacement among all pictures of the item, so that the
    observed assignment is one of those that can be drawn. An item without pictures keeps its original score.

    Args:
        lists: of the users.
        items: scores of the items' pictures by internal item id.
        permutations: how many assignments are drawn.
        seed: of the drawing.
    """
    slots = {item: np.array([lists.slots[int(v), item] for v in scores.viewers]) for item, scores in items.items()}
    shape, flat = lists.scores.shape, lists.scores.ravel()
    observed = flat.copy()
    for item, pictures in items.items():
        observed[slots[item]] = np.diagonal(pictures.scores)
    rng, values = np.random.default_rng(seed), []
    for start in range(0, permutations, BATCH):
        shown = np.tile(flat, (min(BATCH, permutations - start), 1))
        for item, pictures in items.items():
            viewers, n = pictures.scores.shape
            chosen = rng.permuted(np.tile(np.arange(n), (len(shown), 1)), axis=1)[:, :viewers]
            shown[:, slots[item]] = pictures.scores[np.arange(viewers), chosen]
        values.append(lists.metric(shown.reshape(-1, *shape)))
    permuted = np.concatenate(values)
    own = lists.metric(observed.reshape(1, *shape))[0]
    return OwnershipTest(
        pd.Series(own, index=lists.users), pd.Series(permuted.mean(0), index=lists.users), permuted.mean(1)
    )
