"""Rankers at rest whose content comes from item graphs: one row recomputed, everything else as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from recsys.graphs.item_graph import ItemGraph


@dataclass(frozen=True)
class OpenGraph:
    """A graph of the open modality, as a part of a weighted sum of graphs.

    Attributes:
        graph: without gradient.
        weight: its share of the sum.
        projection: weight and bias of the layer whose output the graph compares; None compares the features.
        unit: every edge weighs 1 / k, whatever its cosine.
    """

    graph: ItemGraph
    weight: float
    projection: tuple[Tensor, Tensor] | None = None
    unit: bool = False

    @property
    def feature_dim(self) -> int:
        """Width of the features that it takes."""
        return self.graph.unit.shape[1] if self.projection is None else self.projection[0].shape[1]

    def rows_times(
        self, items: Int[Tensor, " batch"], features: Float[Tensor, "batch width"], x: Float[Tensor, "items dim"]
    ) -> Float[Tensor, "batch dim"]:
        """Rows `items` of weight * graph if the items' features were these, times x."""
        vectors = features if self.projection is None else functional.linear(features, *self.projection)
        columns, weights = self.graph.substituted_rows(items, vectors)
        if self.unit:
            weights = torch.full_like(weights, 1 / self.graph.k)
        return self.weight * torch.einsum("bk,bkd->bd", weights, x[columns])


def open_graphs(
    raw: tuple[float | Tensor, ItemGraph], learned: tuple[float | Tensor, ItemGraph], projection: nn.Linear
) -> tuple[OpenGraph, ...]:
    """The raw and the learned graph of a modality with their weights, without gradient; none of weight 0."""
    layer = (projection.weight.detach().clone(), projection.bias.detach().clone())
    parts = ((*raw, None), (*learned, layer))
    return tuple(OpenGraph(graph.detached(), float(weight), through) for weight, graph, through in parts if weight)


@dataclass(frozen=True)
class FrozenGraphRanker:
    """A trained ranker with items i + h or i + h / |h|, h = A^L E: one modality of the sum A is open to substitution.

    Attributes:
        users: final embeddings.
        items: final embeddings, before any substitution.
        collaborative: i, the part of them that comes from interactions.
        before: A^(L-1) E, what the last propagation reads.
        rest: the last propagation through the other modalities' graphs.
        graphs: those of the open modality.
        normalised: whether h is brought to length 1.
    """

    users: Float[Tensor, "users dim"]
    items: Float[Tensor, "items dim"]
    collaborative: Float[Tensor, "items dim"]
    before: Float[Tensor, "items dim"]
    rest: Float[Tensor, "items dim"]
    graphs: tuple[OpenGraph, ...]
    normalised: bool

    @property
    def feature_dim(self) -> int:
        """Width of the open modality's features."""
        return self.graphs[0].feature_dim

    def item_embeddings(
        self, items: Int[Tensor, " batch"], features: Float[Tensor, "batch width"]
    ) -> Float[Tensor, "batch dim"]:
        """Final embedding of each item if its features were these; differentiable in them.

        Row i of each open graph is recomputed with the other items' rows and degrees as they are. With more than one
        item layer only the last propagation of row i is recomputed.

        Raises:
            ValueError: a gradient is asked of edges that all weigh the same.
        """
        if features.requires_grad and torch.is_grad_enabled() and all(open_.unit for open_ in self.graphs):
            raise ValueError(
                "edge_weights is unit: the score changes with the features in steps and has no gradient in them; "
                "train the ranker with edge_weights: cosine, or score without gradient"
            )
        h = torch.stack([self.rest[items], *(open_.rows_times(items, features, self.before) for open_ in self.graphs)])
        h = h.sum(dim=0)
        return self.collaborative[items] + (functional.normalize(h, dim=-1) if self.normalised else h)


@dataclass(frozen=True)
class FrozenMICRO:
    """A trained MICRO at rest, with one modality open to substitution.

    Attributes:
        users: final embeddings.
        items: final embeddings, before any substitution.
        collaborative: the part of them that comes from interactions.
        hidden: h_m of every modality.
        present: which items have which modality.
        before: A_m^(L-1) E_item of the open modality: what its last propagation reads.
        position: the open modality's place among all.
        graphs: its raw and its learned graph.
        fusion: the attention.
    """

    users: Float[Tensor, "users dim"]
    items: Float[Tensor, "items dim"]
    collaborative: Float[Tensor, "items dim"]
    hidden: Float[Tensor, "modalities items dim"]
    present: Bool[Tensor, "modalities items"]
    before: Float[Tensor, "items dim"]
    position: int
    graphs: tuple[OpenGraph, ...]
    fusion: Callable[[Tensor, Tensor], Tensor]

    @property
    def feature_dim(self) -> int:
        """Width of the open modality's features."""
        return self.graphs[0].feature_dim

    def item_embeddings(
        self, items: Int[Tensor, " batch"], features: Float[Tensor, "batch width"]
    ) -> Float[Tensor, "batch dim"]:
        """Final embedding of each item if its features were these; differentiable in them.

        Row i of each open graph is recomputed with the other items' rows and degrees as they are. With more than one
        item layer only the last propagation of row i is recomputed.
        """
        row = torch.stack([open_.rows_times(items, features, self.before) for open_ in self.graphs]).sum(dim=0)
        here = torch.arange(len(self.hidden), device=items.device)[:, None] == self.position
        hidden = torch.where(here[..., None], row, self.hidden[:, items])
        fused = self.fusion(hidden, self.present[:, items] | here)
        return self.collaborative[items] + functional.normalize(fused, dim=-1)
