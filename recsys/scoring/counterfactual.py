"""Counterfactual scores: how a ranker would score an item for a user if the item had another image."""

from __future__ import annotations

import copy
from typing import Any, Literal, Protocol, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from recsys.recbole.isolation import one_thread
from recsys.settings import check_choice


class FrozenRanker(Protocol):
    """Frozen view of a ranker for counterfactual scores, as `ranker.frozen(modality)` returns it."""

    @property
    def users(self) -> Tensor:
        """Final embeddings of users."""
        ...

    @property
    def items(self) -> Tensor:
        """Final embeddings of items with their own features."""
        ...

    @property
    def feature_dim(self) -> int:
        """Width of the features that can be substituted."""
        ...

    def item_embeddings(
        self, items: Int[Tensor, " batch"], features: Float[Tensor, "batch width"]
    ) -> Float[Tensor, "batch dim"]:
        """Final embeddings of the items if their features were these."""
        ...


Method = Literal["inductive", "exact"]
"""How a counterfactual score is computed, see `Counterfactual`."""

# Attributes of a ranker that `exact` needs; `recsys.rankers.dot_product.DotProductRanker` has all but `content`.
_REBUILDABLE = ("content", "build_graphs", "check_substitutable", "embeddings", "clear_cache")


class Rebuilt:
    """Frozen view of a ranker that rebuilds all graphs for every substituted feature, one after the other.

    Raises:
        ValueError: the ranker has no such modality, or lacks an attribute that rebuilding needs.
    """

    def __init__(self, ranker: Any, modality: str) -> None:
        if missing := [name for name in _REBUILDABLE if not hasattr(ranker, name)]:
            raise ValueError(f"{type(ranker).__name__} cannot be rebuilt (method exact): it lacks {', '.join(missing)}")
        ranker.check_substitutable(modality)
        self._ranker, self._modality = copy.deepcopy(ranker).eval(), modality
        self.users, self.items = self._ranker.embeddings()

    @property
    def feature_dim(self) -> int:
        """Width of the features that can be substituted."""
        return self._ranker.content.features(self._modality).shape[1]

    @torch.no_grad()
    def item_embeddings(
        self, items: Int[Tensor, " batch"], features: Float[Tensor, "batch width"]
    ) -> Float[Tensor, "batch dim"]:
        """Final embedding of each item if its features were these and all graphs were built with them."""
        embeddings = [
            self._rebuild(int(item), vector).embeddings()[1][item] for item, vector in zip(items, features, strict=True)
        ]
        return torch.stack(embeddings) if embeddings else self.items[items]

    def _rebuild(self, item: int, vector: Float[Tensor, " width"]) -> Any:
        """A ranker with the same weights and with graphs in which the item has these features."""
        rebuilt = copy.copy(self._ranker)
        content = rebuilt.content.substituted(self._modality, item, vector)
        # A shallow copy of a module shares its dict of submodules: it gets one of its own.
        rebuilt._modules = {**rebuilt._modules, "content": content}
        rebuilt.build_graphs([self._modality])
        rebuilt.clear_cache()
        return rebuilt


class Counterfactual:
    """Scores of (user, item) pairs with substituted item features.

    A frozen view of the ranker: the ranker does not change, and training it further does not change the view. User
    embeddings stay as they are; an item without an image gets the substituted one.

    `inductive`: the item's rows of the raw and of the learned item graph are recomputed, with the new features in the
    item's own column; the rows and degrees of the other items stay as they are. It costs one matrix product of
    batch x items per graph. `exact`: all graphs are rebuilt for each feature, a thousand times slower and without
    gradient; it measures the error of `inductive`.

    Args:
        ranker: a trained ranker that reads features when it scores.
        modality: the modality whose features are substituted.
        method: `inductive` or `exact`.

    Raises:
        ValueError: the ranker reads no features, has no such modality, or cannot be rebuilt for `exact`.
    """

    @one_thread()
    def __init__(self, ranker: Any, modality: str = "image", *, method: Method = "inductive") -> None:
        if not hasattr(ranker, "frozen"):
            raise ValueError(
                f"{type(ranker).__name__} reads no pictures when it scores; use a ranker that does: model: MICRO"
            )
        check_choice({"method": method}, "method", get_args(Method))
        self._frozen: FrozenRanker = Rebuilt(ranker, modality) if method == "exact" else ranker.frozen(modality)

    @property
    def feature_dim(self) -> int:
        """Width of the features that `substitute` takes."""
        return self._frozen.feature_dim

    def scores(self, users: Int[Tensor, " batch"]) -> Float[Tensor, "batch items"]:
        """Original scores of all items; the padding column 0 is -inf."""
        scores = self._frozen.users[users] @ self._frozen.items.T
        scores[:, 0] = -torch.inf
        return scores

    def spread(self, users: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """Population standard deviation of each user's original scores over all items without padding."""
        return self.scores(users)[:, 1:].std(dim=1, correction=0)

    def substitute(
        self, users: Int[Tensor, " batch"], items: Int[Tensor, " batch"], features: Float[Tensor, "batch width"]
    ) -> Float[Tensor, " batch"]:
        """Scores of the pairs if each item's features were these; `inductive` is differentiable in `features`.

        Raises:
            ValueError: the features have another width than the ranker's, or a row that is zero or not finite.
        """
        self._check(items, features)
        return (self._frozen.users[users] * self._frozen.item_embeddings(items, features)).sum(-1)

    def substitute_users(
        self, users: Int[Tensor, "batch n"], items: Int[Tensor, " batch"], features: Float[Tensor, "batch width"]
    ) -> Float[Tensor, "batch n"]:
        """As `substitute`, for n users an item."""
        self._check(items, features)
        return torch.einsum("bnd,bd->bn", self._frozen.users[users], self._frozen.item_embeddings(items, features))

    def score_matrix(
        self, users: Int[Tensor, " n"], items: Int[Tensor, " pictures"], features: Float[Tensor, "pictures width"]
    ) -> Float[Tensor, "n pictures"]:
        """Score of each picture's item for each of these users, as `substitute` gives it for one pair.

        Raises:
            ValueError: see `substitute`.
        """
        self._check(items, features)
        return self._frozen.users[users] @ self._frozen.item_embeddings(items, features).T

    def substitute_lists(
        self, users: Int[Tensor, " batch"], items: Int[Tensor, "batch c"], features: Float[Tensor, "batch c width"]
    ) -> Float[Tensor, "batch c"]:
        """As `substitute`, for a list of items per user; each item is substituted separately."""
        flat = self.substitute(
            users.repeat_interleave(items.shape[1]), items.flatten(), features.reshape(-1, features.shape[-1])
        )
        return flat.view(items.shape)

    def _check(self, items: Int[Tensor, " batch"], features: Float[Tensor, "batch width"]) -> None:
        if features.shape[1] != self.feature_dim:
            raise ValueError(f"the features are {features.shape[1]} wide, the ranker was trained on {self.feature_dim}")
        squared_norms = features.detach().square().sum(dim=1)
        invalid = ~(torch.isfinite(squared_norms) & (squared_norms > 0))
        if invalid.any():
            row = int(invalid.nonzero()[0])
            raise ValueError(f"features of item {int(items[row])} (row {row} of {len(items)}) are zero or not finite")
