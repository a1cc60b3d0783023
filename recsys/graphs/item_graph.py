"""Item graphs: the k nearest neighbours of each item by cosine, normalised, differentiable in the vectors."""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# Parts of torch and faiss carry no types; what is ours is checked strictly.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from recsys.graphs.adjacency import Edges, _inverse_root
from recsys.graphs.neighbours import Search, nearest

# Similarities closer than this count as equal when a substituted row chooses its neighbours.
_SAME = 1e-6


@dataclass(frozen=True)
class ItemGraph:
    """The directed k-nearest-neighbour graph of one modality, each item counted among its own neighbours.

    Only items that have the modality take part; the others have no edges in either direction.

    Attributes:
        unit: the vectors at length 1, zeros where the modality is absent.
        rows: the items that have the modality.
        columns: their neighbours, the item itself first.
        weights: the cosines along those edges, carrying gradient if the vectors did.
        degree: row sums of the cosines, 0 for items outside the graph.
    """

    unit: Float[Tensor, "items dim"]
    rows: Int[Tensor, " present"]
    columns: Int[Tensor, "present k"]
    weights: Float[Tensor, "present k"]
    degree: Float[Tensor, " items"]

    @property
    def k(self) -> int:
        """Neighbours per item, itself included."""
        return self.columns.shape[1]

    def edges(self) -> Edges:
        """Row, column and w'_ij = deg_i^-1/2 w_ij deg_j^-1/2 of every edge; deg are row sums on both sides."""
        scale = _inverse_root(self.degree)
        value = scale[self.rows, None] * self.weights * scale[self.columns]
        return self.rows.repeat_interleave(self.k), self.columns.flatten(), value.flatten()

    def detached(self) -> ItemGraph:
        """The same graph without gradient."""
        return ItemGraph(self.unit.detach(), self.rows, self.columns, self.weights.detach(), self.degree.detach())

    def substituted_rows(
        self, items: Int[Tensor, " batch"], vectors: Float[Tensor, "batch dim"]
    ) -> tuple[Int[Tensor, "batch k"], Float[Tensor, "batch k"]]:
        """Row `items[b]` of the normalised graph if that item's vector were `vectors[b]` and nothing else changed.

        Column i is the new vector itself, so the self edge weighs 1 and is kept. deg_i is recomputed, the degrees of
        the other items stay as they are. The choice of neighbours is piecewise constant in `vectors`, the weights
        are differentiable. Where two candidates are equally similar (to 1e-6), the present neighbour is preferred: an
        item's own vector thus returns its own row. An item that had no vector joins with one.

        Returns:
            Columns (the item itself first) and normalised weights.
        """
        unit = functional.normalize(vectors, dim=-1)
        columns = torch.cat([items[:, None], self._nearest_others(items, unit.detach())], dim=1)
        # (B, k, dim); column 0 is the new vector, not the item's old one.
        others = self.unit[columns[:, 1:]]
        weights = torch.cat([(unit * unit).sum(-1, keepdim=True), torch.einsum("bd,bkd->bk", unit, others)], dim=1)
        own = _inverse_root(weights.sum(dim=1))[:, None]
        other = torch.cat([own, _inverse_root(self.degree)[columns[:, 1:]]], dim=1)
        return columns, own * weights * other

    @torch.no_grad()
    def _nearest_others(
        self, items: Int[Tensor, " batch"], unit: Float[Tensor, "batch dim"]
    ) -> Int[Tensor, "batch others"]:
        outside = torch.ones(len(self.degree), dtype=torch.bool, device=self.unit.device)
        outside[self.rows] = False
        position = torch.full_like(outside, -1, dtype=torch.long)
        position[self.rows] = torch.arange(len(self.rows), device=self.unit.device)
        chosen: list[Tensor] = []
        # At most 2^24 similarities (64 MB) at a time.
        for some, vectors in zip(*(t.split(max(1, 2**24 // len(outside))) for t in (items, unit)), strict=True):
            similarity = vectors @ self.unit.T  # (b, items)
            known = (position[some] >= 0).nonzero()
            incumbents = self.columns[position[some[known[:, 0]]]]
            similarity[known, incumbents] += _SAME
            similarity[:, outside] = -torch.inf
            similarity.scatter_(1, some[:, None], -torch.inf)
            chosen.append(similarity.topk(self.k - 1, dim=1).indices)
        return torch.cat(chosen) if chosen else items.new_empty(0, self.k - 1)


def item_graph(
    vectors: Float[Tensor, "items dim"], present: Bool[Tensor, " items"], k: int, search: Search | None = None
) -> ItemGraph:
    """Cosine k-nearest-neighbour graph. The neighbours are found without gradient, the weights carry it.

    w_ij = (x_i / |x_i|) . (x_j / |x_j|), which has the same value and gradient as the dense similarity matrix cut to
    its top k, in O(items k) memory.

    Raises:
        ValueError: `k` exceeds the number of items that have the modality.
    """
    unit = functional.normalize(vectors, dim=-1) * present[:, None]
    rows = present.nonzero().flatten()
    neighbours = torch.from_numpy(nearest(unit[rows].detach().cpu().numpy(), k, search or Search())).to(rows.device)
    columns = rows[neighbours]
    # One neighbour at a time, gathered again for the gradient: all k at once would copy the features 2 k times.
    cosines = [checkpoint(_cosines, unit, rows, column, use_reentrant=False) for column in columns.T]
    weights = torch.stack(cosines, dim=1)
    degree = torch.zeros(len(present), dtype=unit.dtype, device=unit.device).index_copy(0, rows, weights.sum(1))
    return ItemGraph(unit, rows, columns, weights, degree)


def _cosines(
    unit: Float[Tensor, "items dim"], rows: Int[Tensor, " edges"], columns: Int[Tensor, " edges"]
) -> Float[Tensor, " edges"]:
    return (unit[rows] * unit[columns]).sum(-1)


def mixed_edges(parts: Sequence[tuple[float | Tensor, ItemGraph]]) -> Edges:
    """Row, column and value of a weighted sum of graphs; a pair in several graphs is listed as often.

    Graphs of weight 0 are left out. The values carry the gradient of weights and cosines.
    """
    edges = [(weight, graph.edges()) for weight, graph in parts if weight]
    row, column = (torch.cat([edge[side] for _, edge in edges]) for side in (0, 1))
    return row, column, torch.cat([weight * edge[2] for weight, edge in edges])
