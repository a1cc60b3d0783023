"""Base classes of rankers over the user-item graph, and over item graphs of similar features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from recsys.graphs.adjacency import Normalisation, interaction_adjacency
from recsys.graphs.item_graph import ItemGraph
from recsys.graphs.propagation import Propagation, layer_mean
from recsys.rankers.dot_product import DotProductRanker
from recsys.rankers.modalities import Modalities, Projections
from recsys.settings import check_whole


class GraphRanker(DotProductRanker):
    """A ranker with an embedding per user and item, propagated over the user-item graph.

    Attributes:
        user_embedding: initial user embeddings, created by `embed` or by the subclass.
        item_embedding: initial item embeddings, likewise.
    """

    user_embedding: nn.Embedding
    item_embedding: nn.Embedding

    def embed(self, dim: int) -> None:
        """Create the initial embeddings (Xavier, uniform)."""
        self.user_embedding, self.item_embedding = nn.Embedding(self.n_users, dim), nn.Embedding(self.n_items, dim)
        nn.init.xavier_uniform_(self.user_embedding.weight)
        nn.init.xavier_uniform_(self.item_embedding.weight)

    def initial(self) -> Float[Tensor, "nodes dim"]:
        """Initial embeddings of all nodes of the user-item graph, users first."""
        return torch.cat([self.user_embedding.weight, self.item_embedding.weight])

    def propagation(
        self, users: Int[Tensor, " edges"], items: Int[Tensor, " edges"], normalisation: Normalisation = "symmetric"
    ) -> Propagation:
        """The propagation over the user-item graph of these interactions."""
        sizes = {"n_users": self.n_users, "n_items": self.n_items}
        return Propagation(interaction_adjacency(users, items, **sizes, normalisation=normalisation).to(self.device))

    def split(self, nodes: Float[Tensor, "nodes dim"]) -> tuple[Float[Tensor, "users dim"], Float[Tensor, "items dim"]]:
        """Split the rows of all nodes into those of users and those of items."""
        return nodes[: self.n_users], nodes[self.n_users :]

    def lightgcn(
        self, graph: Propagation, n_layers: int
    ) -> tuple[Float[Tensor, "users dim"], Float[Tensor, "items dim"]]:
        """LightGCN's final embeddings of users and items; for 0 layers the initial ones."""
        return self.split(layer_mean(graph, self.initial(), n_layers))


class ItemGraphRanker(GraphRanker):
    """A graph ranker that reads features through the k-nearest-neighbour item graph of every modality.

    Attributes:
        content: raw features.
        projections: the linear layer T_m of every modality.
        raw_graphs: the item graph of every modality by its raw features.
    """

    projections: Projections
    raw_graphs: dict[str, ItemGraph]

    def read(self, config: Any, dataset: Any) -> None:
        """Load the features, create the layers T_m and build the item graphs, as `config` says.

        Raises:
            ValueError: as `Modalities`, or `knn_k` exceeds the number of items that have a modality.
        """
        self.knn_k = config["knn_k"]
        self.content = Modalities.configured(config, dataset.field2id_token[self.ITEM_ID], self.device)
        self.projections = Projections(self.content, config["embedding_size"])
        self.raw_graphs = {}
        self.build_graphs(self.content.names)

    def build_graphs(self, modalities: Sequence[str]) -> None:
        """Build the item graphs of these modalities from their raw features."""
        self.raw_graphs = self.raw_graphs | {m: self.content.graph(m, self.knn_k) for m in modalities}


def check_sizes(config: Any) -> None:
    """Raise ValueError unless the sizes that every `ItemGraphRanker` reads are possible."""
    for key, least in (("embedding_size", 1), ("n_ui_layers", 0), ("n_layers", 1), ("knn_k", 1)):
        check_whole(config, key, least=least)
