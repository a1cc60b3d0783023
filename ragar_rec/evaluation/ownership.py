"""Ownership: is a picture worth more to the person whom it was made for than to others?

Among the people who have pictures of the same item, whose picture is shown is permuted; no new picture is needed. If
pictures are not personal, any assignment is as good as the observed one (Fisher's randomisation test).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ragar_rec.evaluation.protocols import Candidates, EvaluationProtocol, Reference, Task
from recsys.scoring.counterfactual import Counterfactual

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


class ShownItems:
    """The items of many users that show other pictures, and a metric of the users, to be computed again and again.

    Args:
        tasks: of the users, each once.
        items: of each user, those that show other pictures.
        metric: ``ndcg`` or ``recall``.
        k: length of the list that the metric looks at.
    """

    def __init__(self, tasks: Sequence[Task], items: Sequence[np.ndarray], metric: str, k: int) -> None:
        self.tasks, self.items = tasks, items
        self.users = [task.user for task in tasks]
        # Original scores, filled up with -inf; and (user, item) -> position in the flattened array.
        width = max(map(len, items), default=0)
        self.scores = np.full((len(tasks), width), -np.inf)
        self.slots: dict[tuple[int, int], int] = {}
        for row, (task, shown) in enumerate(zip(tasks, items, strict=True)):
            self.scores[row, : len(shown)] = task.scores[torch.from_numpy(shown)].double().numpy()
            self.slots |= {(task.user, int(item)): row * width + at for at, item in enumerate(shown)}
        self.discount = 1 / np.log2(np.arange(k) + 2) if metric == "ndcg" else np.ones(k)

    def gains(self, ranks: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """What held-out items at these ranks add to the metric."""
        return np.append(self.discount, 0.0)[np.minimum(ranks, len(self.discount) + 1) - 1]

    def metric(self, scores: Float[np.ndarray, "n users width"]) -> Float[np.ndarray, "n users"]:
        """The metric of every user if the items had these scores."""
        raise NotImplementedError

    def ideal(self, counts: Int[np.ndarray, " users"], metric: str) -> Float[np.ndarray, " users"]:
        """The most that so many held-out items can add up to; recall counts all of them, whatever k is."""
        most = np.cumsum(self.discount)[np.minimum(counts, len(self.discount)) - 1]
        return most if metric == "ndcg" else counts.astype(float)


class CandidateLists(ShownItems):
    """Lists under `candidates`: the top C are ranked among themselves, equal scores in their original order."""

    def __init__(self, tasks: Sequence[Task], protocol: Candidates, metric: str, k: int) -> None:
        super().__init__(tasks, [protocol.items(task) for task in tasks], metric, k)
        self.relevance, self.outside = np.zeros(self.scores.shape), np.zeros(len(tasks))
        for row, (task, listed) in enumerate(zip(tasks, self.items, strict=True)):
            self.relevance[row, : len(listed)] = (task.targets == listed[:, None]).sum(1)
            # Held-out items outside of the list keep their ranks; they count if the list is shorter than k.
            others = task.targets[~np.isin(task.targets, listed)]
            self.outside[row] = self.gains(task.ranks(others, task.scores[torch.from_numpy(others)])).sum()
        self.most = self.ideal(np.array([len(task.targets) for task in tasks]), metric)

    def metric(self, scores: Float[np.ndarray, "n users width"]) -> Float[np.ndarray, "n users"]:
        """The metric of every user if the lists' items had these scores."""
        order = np.argsort(-scores, axis=-1, kind="stable")[..., : len(self.discount)]
        hits = np.take_along_axis(np.broadcast_to(self.relevance, scores.shape), order, axis=-1)
        return ((hits * self.discount[: hits.shape[-1]]).sum(-1) + self.outside) / self.most


class ReferenceLists(ShownItems):
    """Held-out items under `reference`: each alone has another score, and is ranked among all items."""

    def __init__(self, tasks: Sequence[Task], protocol: Reference, metric: str, k: int) -> None:
        super().__init__(tasks, [protocol.items(task) for task in tasks], metric, k)
        self.most = self.ideal(np.array([len(items) for items in self.items]), metric)

    def metric(self, scores: Float[np.ndarray, "n users width"]) -> Float[np.ndarray, "n users"]:
        """The metric of every user if the held-out items had these scores."""
        totals = np.zeros(scores.shape[:2])
        for row, (task, items) in enumerate(zip(self.tasks, self.items, strict=True)):
            shown = torch.from_numpy(scores[:, row, : len(items)].reshape(-1)).to(task.scores)
            gains = self.gains(task.ranks(np.tile(items, len(scores)), shown))
            totals[:, row] = gains.reshape(len(scores), -1).sum(1)
        return totals / self.most


def own_scores(lists: ShownItems, items: Mapping[int, ItemScores]) -> Float[np.ndarray, "users width"]:
    """Scores of the lists' items with each user's own pictures; an item without pictures keeps its original score."""
    scores = lists.scores.ravel().copy()
    for item, pictures in items.items():
        scores[[lists.slots[int(user), item] for user in pictures.viewers]] = np.diagonal(pictures.scores)
    return scores.reshape(lists.scores.shape)


def ownership_test(
    lists: ShownItems, items: Mapping[int, ItemScores], *, permutations: int, seed: int
) -> OwnershipTest:
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
    rng, values = np.random.default_rng(seed), []
    for start in range(0, permutations, BATCH):
        shown = np.tile(flat, (min(BATCH, permutations - start), 1))
        for item, pictures in items.items():
            viewers, n = pictures.scores.shape
            chosen = rng.permuted(np.tile(np.arange(n), (len(shown), 1)), axis=1)[:, :viewers]
            shown[:, slots[item]] = pictures.scores[np.arange(viewers), chosen]
        values.append(lists.metric(shown.reshape(-1, *shape)))
    permuted = np.concatenate(values)
    own = lists.metric(own_scores(lists, items)[None])[0]
    return OwnershipTest(
        pd.Series(own, index=lists.users), pd.Series(permuted.mean(0), index=lists.users), permuted.mean(1)
    )


def item_scores(
    lists: ShownItems, features: Mapping[tuple[int, int], Float[Tensor, " dim"]], view: Counterfactual
) -> dict[int, ItemScores]:
    """What each item scores for its viewers with every picture that was made of it.

    Args:
        lists: who sees which item.
        features: of the pictures, by (user whom it was made for, item).
        view: the judge's counterfactual scores.
    """
    owners: dict[int, list[int]] = {}
    for user, item in features:
        owners.setdefault(item, []).append(user)
    found: dict[int, ItemScores] = {}
    for item, makers in owners.items():
        viewers = [user for user in makers if (user, item) in lists.slots]
        if not viewers:
            continue
        others = [user for user in makers if (user, item) not in lists.slots]
        pictures = torch.stack([features[user, item] for user in (*viewers, *others)])
        with torch.no_grad():
            scores = view.score_matrix(torch.tensor(viewers), torch.full((len(pictures),), item), pictures)
        found[item] = ItemScores(np.array(viewers), scores.double().cpu().numpy())
    return found


def ownership_frames(
    tasks: Sequence[Task],
    protocols: Iterable[EvaluationProtocol],
    features: Mapping[tuple[int, int], Float[Tensor, " dim"]],
    view: Counterfactual,
    *,
    k: int,
    permutations: int,
    seed: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Run the test for NDCG@k and Recall@k under every protocol.

    Returns:
        ``protocol``, ``metric``, ``user`` (internal id) and ``value``, the mean over permutations; ``protocol``,
        ``metric``, ``draw`` and ``value``, the mean over users of each permutation.
    """
    people, draws = [], []
    for protocol in protocols:
        for metric in ("ndcg", "recall"):
            lists = _lists(protocol, tasks, metric, k)
            test = ownership_test(lists, item_scores(lists, features, view), permutations=permutations, seed=seed)
            cell = {"protocol": protocol.name, "metric": f"{metric}@{k}"}
            people.append(pd.DataFrame({**cell, "user": test.permuted.index, "value": test.permuted.to_numpy()}))
            draws.append(pd.DataFrame({**cell, "draw": np.arange(permutations), "value": test.draws}))
    return pd.concat(people, ignore_index=True), pd.concat(draws, ignore_index=True)


def _lists(protocol: EvaluationProtocol, tasks: Sequence[Task], metric: str, k: int) -> ShownItems:
    if isinstance(protocol, Candidates):
        return CandidateLists(tasks, protocol, metric, k)
    if isinstance(protocol, Reference):
        return ReferenceLists(tasks, protocol, metric, k)
    raise ValueError(f"owners cannot be permuted under the protocol {protocol.name}")


def ownership_p(draws: pd.DataFrame, own: float, **cell: str) -> float:
    """The p-value of a mean over users among the permutations, averaged over seeds permutation by permutation.

    Args:
        draws: ``system``, ``protocol``, ``judge``, ``metric``, ``training_seed``, ``seed``, ``draw``, ``value``.
        own: the mean over users and seeds with the own pictures.
        cell: the system, protocol, judge and metric.
    """
    chosen = np.logical_and.reduce([draws[name] == value for name, value in cell.items()])
    means = draws.loc[chosen].groupby("draw")["value"].mean()
    return permutation_p(own, means.to_numpy())
