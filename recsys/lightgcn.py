"""LightGCN: the image-free ranker that every comparison needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from recsys.dot_product import DotProductRanker, bpr_loss, half_squared_norm
from recsys.graph import interaction_adjacency
from recsys.propagation import Propagation, layer_mean


class LightGCN(DotProductRanker):
    """LightGCN (He et al. 2020) on torch-geometric: D^-1/2 A D^-1/2, mean of layers, score = user . item.

    The loss is BPR plus `reg_weight` times half the squared norm of the batch's *initial* embeddings.
    """

    LOSSES = ("bpr", "reg")
    DEFAULTS: ClassVar[Mapping[str, Any]] = {
        "embedding_size": 64,
        "n_layers": 3,
        "reg_weight": 1e-4,
        "learning_rate": 1e-3,
        "train_batch_size": 2048,
    }

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.n_layers, self.reg_weight = config["n_layers"], config["reg_weight"]
        self.user_embedding = nn.Embedding(self.n_users, config["embedding_size"])
        self.item_embedding = nn.Embedding(self.n_items, config["embedding_size"])
        nn.init.xavier_uniform_(self.user_embedding.weight)
        nn.init.xavier_uniform_(self.item_embedding.weight)
        users, items = dataset.inter_feat[self.USER_ID], dataset.inter_feat[self.ITEM_ID]
        adjacency = interaction_adjacency(users, items, n_users=self.n_users, n_items=self.n_items)
        self.graph = Propagation(adjacency.to(self.device))

    def forward(self) -> tuple[Float[Tensor, "users dim"], Float[Tensor, "items dim"]]:
        """Propagated embeddings of all users and items."""
        initial = torch.cat([self.user_embedding.weight, self.item_embedding.weight])
        final = layer_mean(self.graph, initial, self.n_layers)
        return final[: self.n_users], final[self.n_users :]

    def calculate_loss(self, interaction: Any) -> tuple[Tensor, ...]:
        """BPR and weighted regularisation of one batch."""
        user, item, other = (interaction[key] for key in (self.USER_ID, self.ITEM_ID, self.NEG_ITEM_ID))
        users, items = self.forward()
        # embedding() has a faster gradient than indexing.
        who, liked, not_seen = (functional.embedding(*p) for p in ((user, users), (item, items), (other, items)))
        loss = bpr_loss((who * liked).sum(-1), (who * not_seen).sum(-1))
        initial = (self.user_embedding(user), self.item_embedding(item), self.item_embedding(other))
        return loss, self.reg_weight * half_squared_norm(*initial)
