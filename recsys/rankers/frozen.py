"""Frozen views of rankers over item graphs, in which the features of single items can be substituted."""

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
    """An item graph of the substituted modality, one term of a weighted sum of graphs.

    Attributes:
        graph: the graph, without gradient.
        weight: its weight in the sum.
        projection: weight and bias of the layer whose output is compared; None for a graph of the raw features.
        unit: whether every edge weighs 1 / k, whatever its cosine.
    """

    graph: ItemGraph
    weight: float
    projection: tuple[Tensor, Tensor] | None = None
    unit: bool = False

    @property
    def feature_dim(self) -> int:
        """Width of the features from which a row is computed."""
        return self.graph.unit.shape[1] if self.projection is None else self.projection[0].shape[1]

    def rows_times(
        self, items: Int[Tensor, " batch"], features: Float[Tensor, "batch width"], x: Float[Tensor, "items dim"]
    ) -> Float[Tensor, "batch dim"]:
        """Rows `items` of weight * graph, computed with these features of the items, times x."""
        vectors = features if self.projection is None else functional.linear(features, *self.projection)
        columns, weights = self.graph.substituted_rows(items, vectors)
        if self.unit:
            weights = torch.full_like(weights, 1 / self.graph.k)
        return self.weight * torch.einsum("bk,bkd->bd", weights, x[columns])


def open_graphs(
    raw: tuple[float | Tensor, ItemGraph], learned: tuple[float | Tensor, ItemGraph], projection: nn.Linear
) -> tuple[OpenGraph, ...]:
    """The raw and the learned graph of a modality with their weights, without gradient; a weight of 0 drops a graph."""
    layer = (projection.weight.detach().clone(), projection.bias.detach().clone())
    candidates = ((*raw, None), (*learned, layer))
    return tuple(OpenGraph(graph.detached(), float(weight), linear) for weight, graph, linear in candidates if weight)


@dataclass(frozen=True)
class FrozenGraphRanker:
    """A frozen view of a trained ranker with item embeddings i + h or i + h / |h|, h = A^L E (FREEDOM, LATTICE).

    A is a sum of graphs over modalities; the features of one modality can be substituted.

    Attributes:
        users: final embeddings.
        items: final embeddings under the items' own features.
        collaborative: i, the part of `items` that comes from interactions.
        penultimate: A^(L-1) E, the input of the last propagation.
        other_modalities: the last propagation through the graphs of the other modalities.
        graphs: the graphs of the substituted modality.
        normalised: whether h is normalised to length 1.
    """

    users: Float[Tensor, "users dim"]
    items: Float[Tensor, "items dim"]
    collaborative: Float[Tensor, "items dim"]
    penultimate: Float[Tensor, "items dim"]
    other_modalities: Float[Tensor, "items dim"]
    graphs: tuple[OpenGraph, ...]
    normalised: bool

    @property
    def feature_dim(self) -> int:
        """Width of the substituted modality's features."""
        return self.graphs[0].feature_dim

    def item_embeddings(
        self, items: Int[Tensor, " batch"], features: Float[Tensor, "batch width"]
    ) -> Float[Tensor, "batch dim"]:
        """Final embedding of each item if its features were these; differentiable in them.

        Row i of each graph of the modality is recomputed; the rows and degrees of the other items stay as they are.
        With more than one item layer only the last propagation of row i is recomputed.

        Raises:
            ValueError: the features require a gradient, but all edges weigh the same.
        """
        if features.requires_grad and torch.is_grad_enabled() and all(open_.unit for open_ in self.graphs):
            raise ValueError(
                "edge_weights is unit: the score changes with the features in steps and has no gradient in them; "
                "train the ranker with edge_weights: cosine, or score without gradient"
            )
        modality = [open_.rows_times(items, features, self.penultimate) for open_ in self.graphs]
        h = torch.stack([self.other_modalities[items], *modality]).sum(dim=0)
        return self.collaborative[items] + (functional.normalize(h, dim=-1) if self.normalised else h)


@dataclass(frozen=True)
class FrozenMICRO:
    """A frozen view of a trained MICRO in which the features of one modality can be substituted.

    Attributes:
        users: final embeddings.
        items: final embeddings under the items' own features.
        collaborative: the part of `items` that comes from interactions.
        hidden: h_m of every modality.
        present: which items have which modality.
        penultimate: A_m^(L-1) E_item of the substituted modality, the input of its last propagation.
        position: index of the substituted modality.
        graphs: the raw and the learned graph of the substituted modality.
        fusion: the attention over modalities.
    """

    users: Float[Tensor, "users dim"]
    items: Float[Tensor, "items dim"]
    collaborative: Float[Tensor, "items dim"]
    hidden: Float[Tensor, "modalities items dim"]
    present: Bool[Tensor, "modalities items"]
    penultimate: Float[Tensor, "items dim"]
    position: int
    graphs: tuple[OpenGraph, ...]
    fusion: Callable[[Tensor, Tensor], Tensor]

    @property
    def feature_dim(self) -> int:
        """Width of the substituted modality's features."""
        return self.graphs[0].feature_dim

    def item_embeddings(
        self, items: Int[Tensor, " batch"], features: Float[Tensor, "batch width"]
    ) -> Float[Tensor, "batch dim"]:
        """Final embedding of each item if its features were these; differentiable in them.

        Row i of each graph of the modality is recomputed; the rows and degrees of the other items stay as they are.
        With more than one item layer only the last propagation of row i is recomputed.
        """
        row = torch.stack([open_.rows_times(items, features, self.penultimate) for open_ in self.graphs]).sum(dim=0)
        is_substituted = torch.arange(len(self.hidden), device=items.device)[:, None] == self.position
        hidden = torch.where(is_substituted[..., None], row, self.hidden[:, items])  # (modalities, batch, dim)
        fused = self.fusion(hidden, self.present[:, items] | is_substituted)
        return self.collaborative[items] + functional.normalize(fused, dim=-1)
