"""The counterfactual score: what a user would think of an item if its image were another."""

from __future__ import annotations

import copy
from typing import Any, Literal, Protocol, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from recsys.recbole.isolation import one_thread
from recsys.settings import check_choice


class FrozenRanker(Protocol):
    """What a ranker gives of itself: `ranker.frozen(modality)`."""

    @property
    def users(self) -> Tensor:
        """Final embeddings of users."""
        ...

    @property
    def items(self) -> Tensor:
        """Final embeddings of items under their own features."""
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
# What of a ranker `exact` works with; `recsys.rankers.dot_product.DotProductRanker` has it all but the first.
_REBUILDABLE = ("content", "build_graphs", "check_open", "embeddings", "forget")


class Rebuilt:
    """A trained ranker at rest that is rebuilt around every substituted feature, one after the other.

    Raises:
        ValueError: the ranker has no such modality, or is none of ours that could be rebuilt.
    """

    def __init__(self, ranker: Any, modality: str) -> None:
        if lacking := [name for name in _REBUILDABLE if not hasattr(ranker, name)]:
            raise ValueError(f"{type(ranker).__name__} cannot be rebuilt (method exact): it lacks {', '.join(lacking)}")
        ranker.check_open(modality)
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
        rebuilt = [
            self._twin(int(item), vector).embeddings()[1][item] for item, vector in zip(items, features, strict=True)
        ]
        return torch.stack(rebuilt) if rebuilt else self.items[items]

    def _twin(self, item: int, vector: Float[Tensor, " width"]) -> Any:
        """The ranker on the same weights, and with a catalogue in which the item has these features."""
        twin = copy.copy(self._ranker)
        content = twin.content.substituted(self._modality, item, vector)
        twin._modules = {**twin._modules, "content": content}
        twin.build_graphs([self._modality])
        twin.forget()
        return twin


class Counterfactual:
    """Scores of (user, item) pairs under substituted features.

    A frozen view, taken once: the ranker is not touched, and training it further does not change the view. The users'
    embeddings stay as they are, and an item that had no image gets one.

    `inductive`: the item's rows of the raw and of the learned neighbour graph are recomputed, the new features being
    the item's own column; the other items' rows and degrees stay as they are. One matrix product of batch x items per
    graph. `exact`: all graphs are built anew around each feature, a thousand times slower and without gradient; what
    `inductive` is measured by.

    Args:
        ranker: a trained ranker that reads pictures when it scores.
        modality: whose features are substituted.
        method: `inductive` or `exact`.

    Raises:
        ValueError: the ranker reads no pictures, has no such modality, or cannot be rebuilt for `exact`.
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
        """Standard deviation (over the population) of each user's original scores of the real items."""
        return self.scores(users)[:, 1:].std(dim=1, correction=0)

    def substitute(
        self, users: Int[Tensor, " batch"], items: Int[Tensor, " batch"], features: Float[Tensor, "batch width"]
    ) -> Float[Tensor, " batch"]:
        """Scores of the pairs if each item's features were these; differentiable in `features` (inductive).

        Raises:
            ValueError: the features have another width than the ranker's, or a row that is zero or not finite.
        """
        self._check(items, features)
        return (self._frozen.users[users] * self._frozen.item_embeddings(items, features)).sum(-1)

    def substitute_lists(
        self, users: Int[Tensor, " batch"], items: Int[Tensor, "batch c"], features: Float[Tensor, "batch c width"]
    ) -> Float[Tensor, "batch c"]:
        """As `substitute`, for a list of items per user; each item is substituted on its own."""
        flat = self.substitute(
            users.repeat_interleave(items.shape[1]), items.flatten(), features.reshape(-1, features.shape[-1])
        )
        return flat.view(items.shape)

    def _check(self, items: Int[Tensor, " batch"], features: Float[Tensor, "batch width"]) -> None:
        if features.shape[1] != self.feature_dim:
            raise ValueError(f"the features are {features.shape[1]} wide, the ranker was trained on {self.feature_dim}")
        size = features.detach().square().sum(dim=1)
        wrong = ~(torch.isfinite(size) & (size > 0))
        if wrong.any():
            row = int(wrong.nonzero()[0])
            raise ValueError(f"features of item {int(items[row])} (row {row} of {len(items)}) are zero or not finite")
