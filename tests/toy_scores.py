"""A ranker that can be computed by hand: one number a person, one a picture, and the score is their product."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ragar_rec.evaluation.protocols import Task
from recsys.scoring.counterfactual import Counterfactual


class Product:
    """What :class:`Counterfactual` asks of a ranker; an item's embedding is its feature."""

    feature_dim = 1

    def __init__(self, users: Sequence[float], items: Sequence[float]) -> None:
        self.users = torch.tensor(users, dtype=torch.float32)[:, None]
        self.items = torch.tensor(items, dtype=torch.float32)[:, None]

    def frozen(self, modality: str) -> Product:
        """Itself: it never changes."""
        return self

    def item_embeddings(
        self, items: Int[Tensor, " batch"], features: Float[Tensor, "batch width"]
    ) -> Float[Tensor, "batch dim"]:
        """The features."""
        return features


def product_view(users: Sequence[float], items: Sequence[float]) -> Counterfactual:
    """Scores of the product of these numbers."""
    return Counterfactual(Product(users, items))


def toy_task(scores: Sequence[float], targets: Sequence[int], seen: Sequence[int] = (), *, user: int = 1) -> Task:
    """A task of these scores, the padding's among them; what was seen counts as -inf unless it is a target."""
    values = torch.tensor(scores, dtype=torch.float32)
    values[torch.tensor([0, *(item for item in seen if item not in targets)])] = -torch.inf
    return Task(user, np.array(targets), np.array([0, *seen]), values)
