"""MICRO in its straightforward form, which the ranker's speed and its approximations are measured against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from recsys.rankers.micro import MICRO

DENSE_MICRO = f"{__name__}:DenseMICRO"
"""RecBole's key ``model`` for :class:`DenseMICRO`."""


class DenseMICRO(MICRO):
    """MICRO with N x N similarities and torch.sparse.mm: the same parameters and, with all anchors, the same numbers.

    Edges are gathered in a Python loop; every item is an anchor of the contrastive loss, whose similarities are all
    held in memory.
    """

    dense: dict[str, Tensor] | None = None
    """A_m of each modality during one epoch, without gradient."""

    def build_graphs(self, modalities: Sequence[str]) -> None:
        """Build the graphs of raw features, once."""
        super().build_graphs(modalities)
        self.raw = {m: self._dense_graph(m, self.features(m)) for m in modalities}

    def clear_cache(self) -> None:
        """Drop the epoch's graphs as well."""
        super().clear_cache()
        self.dense = None

    def hidden(self) -> list[Tensor]:
        """h_m of every modality, through graphs that carry gradient on the first batch of an epoch."""
        if self.dense is None:
            share = self.settings["lambda_coeff"]
            learned = {m: self._dense_graph(m, self.projections.of(m)(self.features(m))) for m in self.modalities}
            graphs = {m: (share * self.raw[m] + (1 - share) * learned[m]).coalesce() for m in self.modalities}
            self.dense = {m: graph.detach() for m, graph in graphs.items()}
        else:
            graphs = self.dense
        return [torch.sparse.mm(graphs[m], self.item_embedding.weight) for m in self.modalities]

    def _dense_graph(self, modality: str, vectors: Tensor) -> Tensor:
        return _dense_edges(vectors, self.content.mask(modality), self.settings["knn_k"])

    def collaborative(self) -> tuple[Tensor, Tensor]:
        """LightGCN's embeddings of users and items."""
        layers = [torch.cat([self.user_embedding.weight, self.item_embedding.weight])]
        for _ in range(self.settings["n_ui_layers"]):
            layers.append(torch.sparse.mm(self.interactions.matrix, layers[-1]))
        final = torch.stack(layers).mean(dim=0)
        return final[: self.n_users], final[self.n_users :]

    def _contrastive(self, hidden: Tensor, fused: Tensor, draws: Any) -> Tensor:
        """The contrastive loss over all items; ``draws``, the anchors and negatives of MICRO, are ignored."""
        total, temperature = hidden.new_zeros(()), self.settings["temperature"]
        for view, present in zip(hidden, self.present, strict=True):
            anchors, positives = (functional.normalize(rows[present], dim=-1) for rows in (view, fused))
            within = (anchors @ anchors.T / temperature).exp()
            between = (anchors @ positives.T / temperature).exp()
            # An anchor is no negative of itself.
            denominator = within.sum(1) + between.sum(1) - within.diagonal()
            total = total - (between.diagonal() / denominator).log().mean()
        return total


def _dense_edges(vectors: Tensor, present: Tensor, k: int) -> Tensor:
    """The normalised adjacency of each row's k nearest rows by cosine, as a sparse matrix."""
    unit = functional.normalize(vectors, dim=-1)
    # Below every cosine: absent rows are nobody's neighbours.
    similarity = (unit @ unit.T).masked_fill(~present, -2.0)
    nearest = similarity.detach().topk(k, dim=1).indices
    rows, columns = [], []
    for row in range(len(vectors)):
        if present[row]:
            for column in nearest[row].tolist():
                rows.append(row)
                columns.append(column)
    weights = similarity[rows, columns]
    degree = torch.zeros(len(vectors)).index_add(0, torch.tensor(rows), weights)
    scale = torch.where(degree > 0, degree, torch.ones_like(degree)).rsqrt()
    values = scale[rows] * weights * scale[columns]
    size = (len(vectors), len(vectors))
    return torch.sparse_coo_tensor(torch.tensor([rows, columns]), values, size, check_invariants=False).coalesce()
