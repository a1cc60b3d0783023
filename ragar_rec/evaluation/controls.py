"""Controls: feature sources that the generated pictures have to beat before anything may be called a gain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ragar_rec.evaluation.people import request_seed
from recsys.recbole.dataset import Dataset


class ItemFeatures:
    """One feature vector per item, the same for every user: ``reconstruction``, ``noise``, ``everybody``.

    Args:
        features: a row per internal item id.
        present: which items have one.
    """

    def __init__(self, features: Float[Tensor, "items dim"], present: Bool[Tensor, " items"]) -> None:
        self.table, self.present = features, present

    def features(self, user: int, items: Int[np.ndarray, " n"]) -> tuple[Tensor, Tensor]:
        rows = torch.from_numpy(items)
        return self.table[rows], self.present[rows]


class RandomItem:
    """A draw of ``random_item``: the own picture of another item, drawn by the seed anew for each (user, item)."""

    def __init__(self, originals: ItemFeatures, seed: int) -> None:
        self.originals, self.seed = originals, seed
        self.pool = originals.present.nonzero()[:, 0].numpy()

    def features(self, user: int, items: Int[np.ndarray, " n"]) -> tuple[Tensor, Tensor]:
        substitutes = []
        for item in items.tolist():
            # A generator for each pair: what is drawn must not depend on the rest of the list.
            rng = np.random.default_rng([self.seed, user, item])
            substitute = item
            while substitute == item:
                substitute = int(rng.choice(self.pool))
            substitutes.append(substitute)
        features, _ = self.originals.features(user, np.array(substitutes))
        # Presence is that of the item itself: an item without a picture keeps its original features here too.
        return features, self.originals.present[torch.from_numpy(items)]


def noise_pictures(items: Sequence[str], size: tuple[int, int], seed: int) -> Float[Tensor, "n 3 height width"]:
    """``noise``: uniform noise in place of each item's picture, which depends on seed and item alone.

    Args:
        items: ids.
        size: (height, width).
        seed: of the noise.
    """
    pictures = [
        torch.rand(3, *size, generator=torch.Generator().manual_seed(request_seed(seed, "noise", item)))
        for item in items
    ]
    return torch.stack(pictures)


class PersonalFeatures:
    """Features of pictures generated for (user, item) pairs. With ``owner`` set: the control ``shuffled_user``.

    Args:
        pictures: features by (user, item), internal ids.
        dim: the length of a feature vector.
        owner: (user, items) -> the user whose pictures are shown to this one; by default the user's own are.
    """

    def __init__(
        self,
        pictures: Mapping[tuple[int, int], Float[Tensor, " dim"]],
        dim: int,
        owner: Callable[[int, Int[np.ndarray, " n"]], int] | None = None,
    ) -> None:
        self.pictures, self.dim, self.owner = pictures, dim, owner

    def features(self, user: int, items: Int[np.ndarray, " n"]) -> tuple[Tensor, Tensor]:
        owner = user if self.owner is None else self.owner(user, items)
        rows = [self.pictures.get((owner, int(item))) for item in items]
        present = torch.tensor([row is not None for row in rows], dtype=torch.bool)
        padding = torch.zeros(self.dim)
        return torch.stack([padding if row is None else row for row in rows]), present


class ShuffledUserSampler:
    """Draws for ``shuffled_user`` one other user per list, who never interacted with any of its items.

    If every other user interacted with some item of the list, a user with the fewest of them is taken.

    Args:
        dataset: all its interactions count, those of validation and test too.
        seed: the same seed, user and set of items give the same other user.
        among: the users that may be drawn.
    """

    def __init__(self, dataset: Dataset, seed: int, among: Sequence[int]) -> None:
        self.seed, self.among = seed, np.array(among)
        self.items_of: dict[int, set[int]] = {}
        for users, items in vars(dataset.interactions).values():
            for user, item in zip(users.tolist(), items.tolist(), strict=True):
                self.items_of.setdefault(user, set()).add(item)

    def __call__(self, user: int, items: Int[np.ndarray, " n"]) -> int:
        listed = set(items.tolist())
        # Sorted, so that the order of the list does not matter.
        rng = np.random.default_rng([self.seed, user, *sorted(listed)])
        others = [int(other) for other in rng.permutation(self.among) if other != user]
        if not others:
            raise ValueError("shuffled_user needs at least two people")
        overlaps = [len(listed & self.items_of.get(other, set())) for other in others]
        return others[int(np.argmin(overlaps))]
