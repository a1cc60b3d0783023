"""Item graphs: the k nearest neighbours of each item by cosine, normalised and differentiable in the vectors."""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# Parts of torch carry no types; the code of this module is checked strictly.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from recsys.graphs.adjacency import Edges, inverse_sqrt
from recsys.graphs.neighbours import Search, nearest

# Bonus of the current neighbours when a substituted row chooses its neighbours: similarities that differ by less are
# equal up to rounding in float32.
_TIE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class ItemGraph:
    """Directed k-nearest-neighbour graph of one modality; each item counts among its own neighbours.

    Items without the modality have no edges in either direction.

    Attributes:
        unit: the vectors normalised to length 1, zeros where the modality is absent.
        rows: the items that have the modality.
        columns: their neighbours, the item itself first.
        weights: the cosines of these edges; they carry gradient if the vectors do.
        degree: row sums of the cosines, 0 for items outside the graph.
    """

    unit: Float[Tensor, "items dim"]
    rows: Int[Tensor, " present"]
    columns: Int[Tensor, "present k"]
    weights: Float[Tensor, "present k"]
    degree: Float[Tensor, " items"]

    @property
    def k(self) -> int:
        """Neighbours per item, including the item itself."""
        return self.columns.shape[1]

    def edges(self) -> Edges:
        """Row, column and w'_ij = deg_i^-1/2 w_ij deg_j^-1/2 of every edge; both degrees are row sums."""
        scale = inverse_sqrt(self.degree)
        value = scale[self.rows, None] * self.weights * scale[self.columns]
        return self.rows.repeat_interleave(self.k), self.columns.flatten(), value.flatten()

    def detached(self) -> ItemGraph:
        """The same graph without gradient."""
        return ItemGraph(self.unit.detach(), self.rows, self.columns, self.weights.detach(), self.degree.detach())

    def substituted_rows(
        self, items: Int[Tensor, " batch"], vectors: Float[Tensor, "batch dim"]
    ) -> tuple[Int[Tensor, "batch k"], Float[Tensor, "batch k"]]:
        """Row `items[b]` of the normalised graph if that item's vector were `vectors[b]` and nothing else changed.

        The item's own column holds the new vector, so the self edge keeps weight 1. deg_i is recomputed, the degrees of
        the other items stay as they are. The choice of neighbours is piecewise constant in `vectors`; the weights are
        differentiable. Between equally similar candidates (to 1e-6) a current neighbour is preferred, so that an
        item's own vector returns its own row. An item without the modality gets it with the new vector.

        Returns:
            Columns (the item itself first) and normalised weights.
        """
        unit = functional.normalize(vectors, dim=-1)
        columns = torch.cat([items[:, None], self._nearest_others(items, unit.detach())], dim=1)
        others = self.unit[columns[:, 1:]]  # (batch, k - 1, dim): column 0 is the new vector, not the item's old one
        weights = torch.cat([(unit * unit).sum(-1, keepdim=True), torch.einsum("bd,bkd->bk", unit, others)], dim=1)
        row_scale = inverse_sqrt(weights.sum(dim=1))[:, None]
        column_scale = torch.cat([row_scale, inverse_sqrt(self.degree)[columns[:, 1:]]], dim=1)
        return columns, row_scale * weights * column_scale

    @torch.no_grad()
    def _nearest_others(
        self, items: Int[Tensor, " batch"], unit: Float[Tensor, "batch dim"]
    ) -> Int[Tensor, "batch others"]:
        """The `k - 1` nearest other items of each vector, among the items that have the modality."""
        outside = torch.ones(len(self.degree), dtype=torch.bool, device=self.unit.device)
        outside[self.rows] = False
        position = torch.full_like(outside, -1, dtype=torch.long)  # place of an item in `rows`
        position[self.rows] = torch.arange(len(self.rows), device=self.unit.device)
        neighbours: list[Tensor] = []
        # At most 2^24 similarities (64 MB) at a time.
        for block, vectors in zip(*(t.split(max(1, 2**24 // len(outside))) for t in (items, unit)), strict=True):
            similarity = vectors @ self.unit.T  # (block, items)
            in_graph = (position[block] >= 0).nonzero()
            current = self.columns[position[block[in_graph[:, 0]]]]
            similarity[in_graph, current] += _TIE_TOLERANCE
            similarity[:, outside] = -torch.inf
            similarity.scatter_(1, block[:, None], -torch.inf)  # the item itself is added by the caller
            neighbours.append(similarity.topk(self.k - 1, dim=1).indices)
        return torch.cat(neighbours) if neighbours else items.new_empty(0, self.k - 1)


def item_graph(
    vectors: Float[Tensor, "items dim"], present: Bool[Tensor, " items"], k: int, search: Search | None = None
) -> ItemGraph:
    """Cosine k-nearest-neighbour graph; the neighbours are searched without gradient, the weights carry it.

    w_ij = (x_i / |x_i|) . (x_j / |x_j|): the same values and gradients as the dense similarity matrix cut to its top
    k, in O(items k) memory.

    Raises:
        ValueError: `k` exceeds the number of items that have the modality.
    """
    unit = functional.normalize(vectors, dim=-1) * present[:, None]
    rows = present.nonzero().flatten()
    neighbours = torch.from_numpy(nearest(unit[rows].detach().cpu().numpy(), k, search or Search())).to(rows.device)
    columns = rows[neighbours]
    # One neighbour rank at a time, recomputed in the backward pass: all k at once would hold 2 k copies of the vectors.
    cosines = [checkpoint(_cosines, unit, rows, column, use_reentrant=False) for column in columns.T]
    weights = torch.stack(cosines, dim=1)
    degree = torch.zeros(len(present), dtype=unit.dtype, device=unit.device).index_copy(0, rows, weights.sum(1))
    return ItemGraph(unit, rows, columns, weights, degree)


def _cosines(
    unit: Float[Tensor, "items dim"], rows: Int[Tensor, " edges"], columns: Int[Tensor, " edges"]
) -> Float[Tensor, " edges"]:
    return (unit[rows] * unit[columns]).sum(-1)


def mixed_edges(weighted_graphs: Sequence[tuple[float | Tensor, ItemGraph]]) -> Edges:
    """Row, column and value of the edges of a weighted sum of graphs; an edge of several graphs is listed repeatedly.

    Graphs of weight 0 are left out. The values carry the gradient of weights and cosines.
    """
    edges = [(weight, graph.edges()) for weight, graph in weighted_graphs if weight]
    row, column = (torch.cat([edge[side] for _, edge in edges]) for side in (0, 1))
    return row, column, torch.cat([weight * edge[2] for weight, edge in edges])
