"""Rankers over the graph of who clicked what: what LightGCN and all that is built on it share."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from recsys.dot_product import DotProductRanker
from recsys.graph import Normalisation, interaction_adjacency
from recsys.propagation import Propagation, layer_mean


class GraphRanker(DotProductRanker):
    """A ranker with an embedding of every user and item, mixed along clicks.

    Attributes:
        user_embedding: set by `embed`, or by the subclass.
        item_embedding: likewise.
    """

    user_embedding: nn.Embedding
    item_embedding: nn.Embedding

    def embed(self, dim: int) -> None:
        """Draw the embeddings (Xavier, uniform)."""
        self.user_embedding, self.item_embedding = nn.Embedding(self.n_users, dim), nn.Embedding(self.n_items, dim)
        nn.init.xavier_uniform_(self.user_embedding.weight)
        nn.init.xavier_uniform_(self.item_embedding.weight)

    def initial(self) -> Float[Tensor, "nodes dim"]:
        """Embeddings of the user-item graph's nodes: users first."""
        return torch.cat([self.user_embedding.weight, self.item_embedding.weight])

    def propagation(
        self, users: Int[Tensor, " edges"], items: Int[Tensor, " edges"], normalisation: Normalisation = "symmetric"
    ) -> Propagation:
        """One step over the graph of these clicks."""
        sizes = {"n_users": self.n_users, "n_items": self.n_items}
        return Propagation(interaction_adjacency(users, items, **sizes, normalisation=normalisation).to(self.device))

    def split(self, nodes: Float[Tensor, "nodes dim"]) -> tuple[Float[Tensor, "users dim"], Float[Tensor, "items dim"]]:
        """Users and items of a table of all nodes."""
        return nodes[: self.n_users], nodes[self.n_users :]

    def lightgcn(
        self, graph: Propagation, n_layers: int
    ) -> tuple[Float[Tensor, "users dim"], Float[Tensor, "items dim"]]:
        """LightGCN's final embeddings of users and items; with 0 layers the initial ones."""
        return self.split(layer_mean(graph, self.initial(), n_layers))
