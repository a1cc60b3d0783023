"""Rankers whose score is the inner product of a user's and an item's final embedding."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from recsys.rankers.modalities import Modalities
from recsys.recbole.models import GeneralRecommender, InputType

# Ids of users, positive items and sampled negative items.
Triple = tuple[Int[Tensor, " batch"], Int[Tensor, " batch"], Int[Tensor, " batch"]]


def bpr_loss(positive: Float[Tensor, " batch"], negative: Float[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Bayesian personalised ranking: mean -log sigmoid(positive - negative) (Rendle et al. 2009)."""
    return functional.softplus(negative - positive).mean()


def half_squared_norm(*embeddings: Float[Tensor, "batch dim"]) -> Float[Tensor, ""]:
    """Half the squared norm of the batch's embeddings, divided by the batch size."""
    return torch.stack([e.square().sum() for e in embeddings]).sum() / (2 * len(embeddings[0]))


def batch_rows(
    users: Float[Tensor, "users dim"], items: Float[Tensor, "items dim"], triple: Triple
) -> list[Float[Tensor, "batch dim"]]:
    """Embeddings of a batch's users, positive items and negative items."""
    # embedding() has a faster gradient than indexing.
    return [functional.embedding(rows, table) for rows, table in zip(triple, (users, items, items), strict=True)]


class DotProductRanker(GeneralRecommender):
    """Base class of rankers; a subclass implements `forward() -> (users, items)` and `calculate_loss`.

    In evaluation mode the embeddings are computed once and cached until `train()`, `eval()` or new weights.

    Attributes:
        content: raw features, in a ranker that reads features.
    """

    content: Modalities

    input_type = InputType.PAIRWISE

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.n_users: int
        self.n_items: int
        self._cached: tuple[Tensor, Tensor] | None = None
        self._in_epoch = False
        self.register_load_state_dict_post_hook(lambda module, _: module.clear_cache())

    def check_substitutable(self, modality: str) -> None:
        """Raise ValueError unless the features of this modality can be substituted."""
        self.content.position(modality)

    def build_graphs(self, modalities: Sequence[str]) -> None:
        """Build everything derived from the raw features of these modalities; here nothing."""

    def clear_cache(self) -> None:
        """Drop everything computed from the weights."""
        self._cached = None

    @contextlib.contextmanager
    def training_epoch(self) -> Iterator[None]:
        """Context of one training epoch: after `clear_cache`, what is built once an epoch survives changes of the mode.

        RecBole's sampler of dynamic negatives switches to evaluation mode and back for every batch.
        """
        self.clear_cache()
        self._in_epoch = True
        try:
            yield
        finally:
            self._in_epoch = False

    def train(self, mode: bool = True) -> DotProductRanker:
        """Set the mode after `clear_cache`; inside `training_epoch` only the cached embeddings are dropped."""
        self._cached = None
        if not self._in_epoch:
            self.clear_cache()
        return super().train(mode)

    def triple(self, interaction: Any) -> Triple:
        """Ids of the users, positive items and negative items of a batch."""
        return interaction[self.USER_ID], interaction[self.ITEM_ID], interaction[self.NEG_ITEM_ID]

    @torch.no_grad()
    def embeddings(self) -> tuple[Float[Tensor, "users dim"], Float[Tensor, "items dim"]]:
        """Final embeddings of all users and items, including the padding rows."""
        if self.training:
            return self.forward()
        embeddings = self._cached or self.forward()
        self._cached = embeddings
        return embeddings

    def predict(self, interaction: Any) -> Float[Tensor, " batch"]:
        """Scores of user-item pairs."""
        users, items = self.embeddings()
        return (users[interaction[self.USER_ID]] * items[interaction[self.ITEM_ID]]).sum(-1)

    def full_sort_predict(self, interaction: Any) -> Float[Tensor, " flat"]:
        """Scores of all items for each user, flattened as RecBole expects them."""
        users, items = self.embeddings()
        return (users[interaction[self.USER_ID]] @ items.T).flatten()
