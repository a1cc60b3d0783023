"""Feature sources without a generator: the best of a pool of pictures, and P_ret in place of a picture's features."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from generation.ragar.retrieval import aggregate, retrieval_weights, select, similarities
from ragar_rec.evaluation.controls import ItemFeatures
from recsys.scoring.counterfactual import Counterfactual


def pool_scores(
    view: Counterfactual,
    users: Int[Tensor, " pairs"],
    items: Int[Tensor, " pairs"],
    pool: Float[Tensor, "pictures dim"],
) -> Float[Tensor, "pairs pictures"]:
    """Score of each (user, item) if the item had each picture of the pool, in deviations of the user's scores."""
    n = len(pool)
    with torch.no_grad():
        rows = [
            view.substitute(user.expand(n), item.expand(n), pool) / view.spread(user[None])
            for user, item in zip(users, items, strict=True)
        ]
    return torch.stack(rows)


class BestOfPool:
    """For each (user, item) the picture of a pool that the ranker scores highest: its headroom.

    Args:
        view: the ranker's counterfactual scores.
        originals: the items' own features; an item without a picture keeps none.
        pool: features of the pictures that may be shown.
    """

    def __init__(self, view: Counterfactual, originals: ItemFeatures, pool: Float[Tensor, "pictures dim"]) -> None:
        self.view, self.originals, self.pool = view, originals, pool

    def features(self, user: int, items: Int[np.ndarray, " n"]) -> tuple[Tensor, Tensor]:
        scores = pool_scores(self.view, torch.full((len(items),), user), torch.from_numpy(items), self.pool)
        return self.pool[scores.argmax(1)], self.originals.present[torch.from_numpy(items)]


class RetrievedFeatures:
    """P_ret (eq. 5): the weighted mean of the ranker's image features of what is retrieved from the user's history.

    Histories are searched by the cosine of item embeddings (eq. 3), those of texts where there are any. An item of the
    history is not retrieved for itself.

    Args:
        histories: internal ids of a user's history, oldest first.
        embeddings: by internal item id, zeros for items without one; what eq. 3 compares.
        originals: the items' image features.
        k: items that are retrieved.
        length: only so many of the latest items are searched.
        owner: (user, items) -> the user whose history is searched for this one; by default the user's own is.
    """

    def __init__(
        self,
        histories: Callable[[int], Int[np.ndarray, " n"]] | Mapping[int, Int[np.ndarray, " n"]],
        embeddings: Float[Tensor, "items dim"],
        originals: ItemFeatures,
        *,
        k: int,
        length: int,
        owner: Callable[[int, Int[np.ndarray, " n"]], int] | None = None,
    ) -> None:
        self.histories = histories.__getitem__ if isinstance(histories, Mapping) else histories
        self.embeddings, self.originals, self.k, self.length, self.owner = embeddings, originals, k, length, owner

    def features(self, user: int, items: Int[np.ndarray, " n"]) -> tuple[Tensor, Tensor]:
        searched = user if self.owner is None else self.owner(user, items)
        history = torch.from_numpy(self.histories(searched)[-self.length :])
        chosen = torch.from_numpy(items)
        if not len(history):
            return torch.zeros(len(items), self.originals.table.shape[1]), torch.zeros(len(items), dtype=torch.bool)
        rows = history.expand(len(items), -1)
        scores = similarities(self.embeddings[chosen], self.embeddings[rows])
        selected, exists = select(scores, rows != chosen[:, None], self.k)
        weights = retrieval_weights(scores.gather(1, selected), exists)
        retrieved = rows.gather(1, selected)
        preference = aggregate(weights, self.originals.table[retrieved], self.originals.present[retrieved])
        return preference, self.originals.present[chosen] & preference.any(1)
