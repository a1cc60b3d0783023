"""Controls: sources of features that a generated picture must beat before anything may be called a gain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from recsys.recbole.dataset import Dataset


class Table:
    """The same features for every user: ``reconstruction`` (each item's own picture through the codec).

    Args:
        features: a row per internal item id.
        there: which items have one.
    """

    def __init__(self, features: Float[Tensor, "items dim"], there: Bool[Tensor, " items"]) -> None:
        self.table, self.there = features, there

    def features(self, user: int, items: Int[np.ndarray, " n"]) -> tuple[Tensor, Tensor]:
        rows = torch.from_numpy(items)
        return self.table[rows], self.there[rows]


class RandomItem:
    """``random_item``: another item's own picture, drawn anew for each (user, item)."""

    def __init__(self, originals: Table, seed: int) -> None:
        self.originals, self.seed = originals, seed
        self.pool = originals.there.nonzero()[:, 0].numpy()

    def features(self, user: int, items: Int[np.ndarray, " n"]) -> tuple[Tensor, Tensor]:
        others = []
        for item in items.tolist():
            rng = np.random.default_rng([self.seed, user, item])
            other = item
            while other == item:
                other = int(rng.choice(self.pool))
            others.append(other)
        found, _ = self.originals.features(user, np.array(others))
        return found, self.originals.there[torch.from_numpy(items)]


class Personal:
    """A picture for each (user, item), already made and encoded. With ``owner``, another user's: ``shuffled_user``.

    Args:
        pictures: features by (user, item).
        dim: their width.
        owner: whose picture is shown to whom; herself by default.
    """

    def __init__(
        self,
        pictures: Mapping[tuple[int, int], Float[Tensor, " dim"]],
        dim: int,
        owner: Callable[[int, Int[np.ndarray, " n"]], int] | None = None,
    ) -> None:
        self.pictures, self.dim, self.owner = pictures, dim, owner

    def features(self, user: int, items: Int[np.ndarray, " n"]) -> tuple[Tensor, Tensor]:
        shown = user if self.owner is None else self.owner(user, items)
        found = [self.pictures.get((shown, int(item))) for item in items]
        there = torch.tensor([feature is not None for feature in found], dtype=torch.bool)
        empty = torch.zeros(self.dim)
        return torch.stack([empty if feature is None else feature for feature in found]), there


class Strangers:
    """For ``shuffled_user``: one other person per list, who never interacted with any of its items.

    Where everybody touched some item of the list, it is whoever touched the fewest of them.
    """

    def __init__(self, dataset: Dataset, seed: int, among: Sequence[int]) -> None:
        self.seed, self.among = seed, np.array(among)
        self.have: dict[int, set[int]] = {}
        for users, items in vars(dataset.interactions).values():
            for user, item in zip(users.tolist(), items.tolist(), strict=True):
                self.have.setdefault(user, set()).add(item)

    def __call__(self, user: int, items: Int[np.ndarray, " n"]) -> int:
        listed = set(items.tolist())
        rng = np.random.default_rng([self.seed, user, *sorted(listed)])
        order = [int(other) for other in rng.permutation(self.among) if other != user]
        if not order:
            raise ValueError("shuffled_user needs at least two people")
        overlap = [len(listed & self.have.get(other, set())) for other in order]
        return order[int(np.argmin(overlap))]
