"""VBPR: matrix factorisation with a second factor that is read off the picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from recsys.rankers.dot_product import DotProductRanker, bpr_loss, half_squared_norm
from recsys.rankers.modalities import Modalities, Projections
from recsys.settings import check_between, check_whole


class VBPR(DotProductRanker):
    """VBPR (He & McAuley 2016, eq. 4) for any number of modalities; f_i is their concatenation.

    score = p_u . q_i + theta_u . (E f_i) + beta_i + beta' . f_i; the paper's alpha and beta_u order nothing. As one
    product: users are (p_u, theta_u, 1), items (q_i, E f_i, beta_i + beta' . f_i). p, q and theta have
    `embedding_size` coordinates each. An item without a modality has zeros there, which add nothing to its score.

    The loss is BPR plus `reg_weight` times half the squared norm of p_u, theta_u, q and beta of the batch; as in the
    paper, E and beta' are free. Raw features enter the score as they are: their scale matters.
    """

    LOSSES = ("bpr", "reg")
    DEFAULTS: ClassVar[Mapping[str, Any]] = {
        "embedding_size": 64,
        "reg_weight": 1e-4,
        "learning_rate": 1e-3,
        "train_batch_size": 2048,
        "epochs": 1000,
        "eval_step": 1,
        "stopping_step": 20,
    }

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
        """Final embeddings, of these modalities' features only."""
        factors, bias = self.item_embedding(items), self.item_bias(items)
        seen = [self.projections.of(m)(self.content.features(m)[items]) for m in modalities]
        content = torch.stack([functional.pad(bias, (factors.shape[1], 0)), *seen]).sum(dim=0)
        return torch.cat([factors, content], dim=-1)

    def forward(self) -> tuple[Float[Tensor, "users final"], Float[Tensor, "items final"]]:
        """Final embeddings of all users and items."""
        everything = torch.arange(self.n_items, device=self.content.present.device)
        return _with_one(self.user_embedding.weight), self._items(everything, self.content.names)

    def calculate_loss(self, interaction: Any) -> tuple[Tensor, ...]:
        """BPR and weighted regularisation of one batch; only its own items' features are read."""
        user, item, other = self.triple(interaction)
        factors = self.user_embedding(user)
        who = _with_one(factors)
        liked, not_seen = (self._items(some, self.content.names) for some in (item, other))
        loss = bpr_loss((who * liked).sum(-1), (who * not_seen).sum(-1))
        own = [table(some) for table in (self.item_embedding, self.item_bias) for some in (item, other)]
        return loss, self.reg_weight * half_squared_norm(torch.cat([factors, *own], dim=-1))

    @torch.no_grad()
    def frozen(self, modality: str) -> FrozenVBPR:
        """Everything that a substituted item needs, copied; the ranker stays as it is.

        Raises:
            ValueError: the ranker has no such modality.
        """
        self.check_open(modality)
        users, items = self.forward()
        others = tuple(m for m in self.content.names if m != modality)
        everything = torch.arange(self.n_items, device=items.device)
        projection = self.projections.of(modality).weight.detach().clone()
        return FrozenVBPR(users, items, self._items(everything, others), projection)


@dataclass(frozen=True)
class FrozenVBPR:
    """A trained VBPR at rest, with one modality open to substitution.

    Attributes:
        users: final embeddings.
        items: final embeddings, before any substitution.
        rest: the same without the open modality.
        projection: E of the open modality, beta' as its last row.
    """

    users: Float[Tensor, "users final"]
    items: Float[Tensor, "items final"]
    rest: Float[Tensor, "items final"]
    projection: Float[Tensor, "content width"]

    @property
    def feature_dim(self) -> int:
        """Width of the open modality's features."""
        return self.projection.shape[1]

    def item_embeddings(
        self, items: Int[Tensor, " batch"], features: Float[Tensor, "batch width"]
    ) -> Float[Tensor, "batch final"]:
        """Final embedding of each item if its features were these: exact, a product; differentiable in them."""
        content = functional.linear(features, self.projection)
        return self.rest[items] + functional.pad(content, (self.rest.shape[1] - content.shape[1], 0))


def _with_one(users: Float[Tensor, "batch factors"]) -> Float[Tensor, "batch final"]:
    return functional.pad(users, (0, 1), value=1.0)
