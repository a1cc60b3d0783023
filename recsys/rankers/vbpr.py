"""VBPR: matrix factorisation with a second item factor that is linear in the features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from recsys.rankers.defaults import DEFAULTS
from recsys.rankers.dot_product import DotProductRanker, bpr_loss, half_squared_norm
from recsys.rankers.modalities import Modalities, Projections
from recsys.settings import check_between, check_whole


class VBPR(DotProductRanker):
    """VBPR (He & McAuley 2016, eq. 4) for any number of modalities; f_i is their concatenation.

    score = p_u . q_i + theta_u . (E f_i) + beta_i + beta' . f_i; the paper's alpha and beta_u do not change the order
    of a user's items and are left out. As one inner product: users are (p_u, theta_u, 1), items
    (q_i, E f_i, beta_i + beta' . f_i). p, q and theta have `embedding_size` coordinates each. An item without a
    modality has zeros there, which add nothing to its score.

    The loss is BPR plus `reg_weight` times half the squared norm of p_u, theta_u, q and beta of the batch; as in the
    paper, E and beta' are not regularised. Raw features are not normalised: their scale matters.
    """

    LOSSES = ("bpr", "reg")
    DEFAULTS: ClassVar[Mapping[str, Any]] = DEFAULTS["VBPR"]

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        check_whole(config, "embedding_size", least=1)
        check_between(config, "reg_weight", 0)
        dim, self.reg_weight = config["embedding_size"], config["reg_weight"]
        self.user_embedding = nn.Embedding(self.n_users, 2 * dim)  # p_u, then theta_u
        self.item_embedding, self.item_bias = nn.Embedding(self.n_items, dim), nn.Embedding(self.n_items, 1)
        self.content = Modalities.configured(config, dataset.field2id_token[self.ITEM_ID], self.device)
        self.projections = Projections(self.content, dim + 1, bias=False)  # E, then beta' as the last row
        nn.init.xavier_uniform_(self.user_embedding.weight)
        nn.init.xavier_uniform_(self.item_embedding.weight)
        nn.init.zeros_(self.item_bias.weight)

    def _items(self, items: Int[Tensor, " batch"], modalities: tuple[str, ...]) -> Float[Tensor, "batch final"]:
        """Final embeddings of items, computed from the features of these modalities only."""
        factors, bias = self.item_embedding(items), self.item_bias(items)
        projected = [self.projections.of(m)(self.content.features(m)[items]) for m in modalities]
        # The bias is added to the last column, beta' . f_i.
        content = torch.stack([functional.pad(bias, (factors.shape[1], 0)), *projected]).sum(dim=0)
        return torch.cat([factors, content], dim=-1)

    def forward(self) -> tuple[Float[Tensor, "users final"], Float[Tensor, "items final"]]:
        """Final embeddings of all users and items."""
        all_items = torch.arange(self.n_items, device=self.content.present.device)
        return _append_one(self.user_embedding.weight), self._items(all_items, self.content.names)

    def calculate_loss(self, interaction: Any) -> tuple[Tensor, ...]:
        """BPR and weighted regularisation of one batch; only the features of its items are read."""
        users, positives, negatives = self.triple(interaction)
        user_factors = self.user_embedding(users)
        user = _append_one(user_factors)
        positive, negative = (self._items(items, self.content.names) for items in (positives, negatives))
        loss = bpr_loss((user * positive).sum(-1), (user * negative).sum(-1))
        regularised = [
            table(items) for table in (self.item_embedding, self.item_bias) for items in (positives, negatives)
        ]
        return loss, self.reg_weight * half_squared_norm(torch.cat([user_factors, *regularised], dim=-1))

    @torch.no_grad()
    def frozen(self, modality: str) -> FrozenVBPR:
        """A frozen copy for scoring substituted features of this modality; the ranker does not change.

        Raises:
            ValueError: the ranker has no such modality.
        """
        self.check_substitutable(modality)
        users, items = self.forward()
        others = tuple(m for m in self.content.names if m != modality)
        all_items = torch.arange(self.n_items, device=items.device)
        projection = self.projections.of(modality).weight.detach().clone()
        return FrozenVBPR(users, items, self._items(all_items, others), projection)


@dataclass(frozen=True)
class FrozenVBPR:
    """A frozen view of a trained VBPR in which the features of one modality can be substituted.

    Attributes:
        users: final embeddings.
        items: final embeddings under the items' own features.
        without_modality: final item embeddings without the substituted modality.
        projection: E of the substituted modality, with beta' as its last row.
    """

    users: Float[Tensor, "users final"]
    items: Float[Tensor, "items final"]
    without_modality: Float[Tensor, "items final"]
    projection: Float[Tensor, "content width"]

    @property
    def feature_dim(self) -> int:
        """Width of the substituted modality's features."""
        return self.projection.shape[1]

    def item_embeddings(
        self, items: Int[Tensor, " batch"], features: Float[Tensor, "batch width"]
    ) -> Float[Tensor, "batch final"]:
        """Final embedding of each item if its features were these; exact, and differentiable in them."""
        content = functional.linear(features, self.projection)
        fixed = self.without_modality[items]
        return fixed + functional.pad(content, (fixed.shape[1] - content.shape[1], 0))


def _append_one(users: Float[Tensor, "batch factors"]) -> Float[Tensor, "batch final"]:
    return functional.pad(users, (0, 1), value=1.0)
