"""LightGCN: graph collaborative filtering without features, the baseline of every comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from recsys.graphs.propagation import layer_mean
from recsys.graphs.subgraph import Neighbourhoods, layer_mean_at
from recsys.rankers.defaults import DEFAULTS
from recsys.rankers.dot_product import bpr_loss, half_squared_norm
from recsys.rankers.graph_ranker import GraphRanker
from recsys.settings import check_between, check_whole


class LightGCN(GraphRanker):
    """LightGCN (He et al. 2020) on torch-geometric: D^-1/2 A D^-1/2, mean of layers, score = user . item.

    The loss is BPR plus `reg_weight` times half the squared norm of the batch's *initial* embeddings.

    Configuration: without `fanout` every batch propagates over the whole graph. With "all" it propagates over the
    subgraph that it reads, with the same result; with a number over a subgraph of at most that many neighbours per node
    (see `recsys.graphs.subgraph`), whose cost does not grow with the graph. Evaluation always propagates over the
    whole graph.
    """

    LOSSES = ("bpr", "reg")
    DEFAULTS: ClassVar[Mapping[str, Any]] = DEFAULTS["LightGCN"]

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        check_whole(config, "embedding_size", least=1)
        check_whole(config, "n_layers", least=0)
        check_between(config, "reg_weight", 0)
        self.n_layers, self.reg_weight = config["n_layers"], config["reg_weight"]
        self.embed(config["embedding_size"])
        self.graph = self.propagation(dataset.inter_feat[self.USER_ID], dataset.inter_feat[self.ITEM_ID])
        self.generator = torch.Generator().manual_seed(config["seed"])
        fanout = config["fanout"]
        self.neighbourhoods = None if fanout is None else Neighbourhoods(self.graph.matrix, fanout)

    def forward(self) -> tuple[Float[Tensor, "users dim"], Float[Tensor, "items dim"]]:
        """Propagated embeddings of all users and items."""
        return self.lightgcn(self.graph, self.n_layers)

    def _at(self, nodes: Int[Tensor, " batch"]) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch dim"]]:
        """Final and initial embeddings of the nodes of a batch."""
        if self.neighbourhoods is not None:
            tables = self.user_embedding.weight, self.item_embedding.weight
            return layer_mean_at(self.neighbourhoods, *tables, nodes, self.n_layers, self.generator)
        initial = self.initial()
        final = layer_mean(self.graph, initial, self.n_layers)
        # embedding() has a faster gradient than indexing.
        return functional.embedding(nodes, final), functional.embedding(nodes, initial)

    def calculate_loss(self, interaction: Any) -> tuple[Tensor, ...]:
        """BPR and weighted regularisation of one batch."""
        users, positives, negatives = self.triple(interaction)
        final, initial = self._at(torch.cat([users, self.n_users + positives, self.n_users + negatives]))
        user, positive, negative = final.chunk(3)
        loss = bpr_loss((user * positive).sum(-1), (user * negative).sum(-1))
        return loss, self.reg_weight * half_squared_norm(*initial.chunk(3))
