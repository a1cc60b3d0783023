"""Subgraphs that a batch reads: exact with all neighbours, an unbiased estimate with a sample of each node's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from recsys.settings import check_whole


@dataclass(frozen=True)
class Hop:
    """The linear map x -> A[rows] x for some rows of a graph, stored like CSR.

    Attributes:
        starts: offset of each row's first edge.
        columns: column of each edge, as a position in x.
        weights: entries of A, scaled up where neighbours are sampled.
    """

    starts: Int[Tensor, " rows"]
    columns: Int[Tensor, " edges"]
    weights: Float[Tensor, " edges"]

    def __call__(self, x: Float[Tensor, "columns dim"]) -> Float[Tensor, "rows dim"]:
        """A[rows] x; differentiable in x, not in A."""
        return functional.embedding_bag(self.columns, x, self.starts, mode="sum", per_sample_weights=self.weights)


@dataclass(frozen=True)
class Subgraph:
    """The nodes and edges from which the propagated embeddings of the seed nodes are computed, hop by hop.

    Attributes:
        nodes: nodes whose initial embeddings are read; the seed nodes come first, in their order.
        hops: the first hop maps the embeddings of `nodes` to those of a prefix of `nodes`, each next one to a shorter
            prefix, the last one to the seed nodes.
    """

    nodes: Int[Tensor, " nodes"]
    hops: Sequence[Hop]

    @property
    def n_seeds(self) -> int:
        """Number of seed nodes."""
        return len(self.hops[-1].starts) if self.hops else len(self.nodes)

    def layer_mean(self, x: Float[Tensor, "nodes dim"]) -> Float[Tensor, "seeds dim"]:
        """Mean of x, A x, ..., A^n x at the seed nodes; `propagation.layer_mean` computes it at all nodes."""
        total = x[: self.n_seeds]
        for hop in self.hops:
            x = hop(x)
            total = total + x[: self.n_seeds]
        return total / (len(self.hops) + 1)

    def last(self, x: Float[Tensor, "nodes dim"]) -> Float[Tensor, "seeds dim"]:
        """A^n x at the seed nodes, n being the number of hops."""
        for hop in self.hops:
            x = hop(x)
        return x


class Neighbourhoods:
    """Samples subgraphs of a fixed graph, on the CPU.

    With `fanout` "all", A x is exact at the seed nodes. With a number, a node with more neighbours reads that many
    different ones, each with probability fanout / degree, and scales their weights by degree / fanout. Every hop draws
    anew, so that A^l x is unbiased for every l; what is not linear in it (the loss, and a product of two nodes that
    were sampled together) is an approximation.

    Args:
        matrix: a square torch CSR matrix.
        fanout: maximum number of neighbours per node and hop, or "all".
    """

    def __init__(self, matrix: Tensor, fanout: int | str) -> None:
        check_whole({"fanout": fanout}, "fanout", least=1, word="all")
        self._fanout = None if fanout == "all" else int(fanout)
        self._starts, self._columns, self._values = (
            tensor.cpu() for tensor in (matrix.crow_indices(), matrix.col_indices(), matrix.values())
        )
        self._position = torch.full((len(matrix),), -1)  # Scratch buffer: -1 everywhere between two calls.

    def around(self, nodes: Int[Tensor, " seeds"], n_hops: int, generator: torch.Generator) -> Subgraph:
        """The subgraph that `n_hops` propagations read at these distinct seed nodes, on their device."""
        device, nodes, hops = nodes.device, nodes.cpu(), list[Hop]()
        if self._fanout is not None:
            # One draw from the caller's generator whatever the number of nodes: its later draws do not depend on it.
            seed = int(torch.randint(2**62, (), generator=generator))
            generator = torch.Generator().manual_seed(seed)
        for _ in range(n_hops):
            starts, columns, weights = self._neighbours(nodes, generator)
            nodes, columns = self._with_columns(nodes, columns)
            hops.append(Hop(starts.to(device), columns.to(device), weights.to(device)))
        return Subgraph(nodes.to(device), hops[::-1])

    def _neighbours(self, nodes: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Offsets, columns and weights of the sampled edges of these nodes."""
        first = self._starts[nodes]
        degree = self._starts[nodes + 1] - first
        count = degree if self._fanout is None else degree.clamp(max=self._fanout)
        starts = count.cumsum(0) - count
        row = torch.arange(len(nodes)).repeat_interleave(count)
        # Systematic sampling: every (degree / count)th neighbour from a random start; each once where count is degree.
        stride = degree.double() / count.clamp(min=1)
        shift = torch.zeros(len(nodes)) if self._fanout is None else torch.rand(len(nodes), generator=generator)
        place = (torch.arange(len(row)) - starts[row] + shift.double()[row]) * stride[row]
        edge = first[row] + place.long()
        return starts, self._columns[edge], self._values[edge] * stride[row].to(self._values.dtype)

    def _with_columns(self, nodes: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """The nodes followed by the columns that are not among them, and the position of each column in this list."""
        position = self._position
        position[nodes] = torch.arange(len(nodes))
        new = columns[position[columns] < 0].unique()
        position[new] = torch.arange(len(nodes), len(nodes) + len(new))
        nodes, columns = torch.cat([nodes, new]), position[columns]
        position[nodes] = -1
        return nodes, columns


def layer_mean_at(
    graph: Neighbourhoods,
    users: Float[Tensor, "users dim"],
    items: Float[Tensor, "items dim"],
    nodes: Int[Tensor, " batch"],
    n_layers: int,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch dim"]]:
    """Final (`propagation.layer_mean`) and initial embeddings of user-item graph nodes, which may repeat."""
    seeds, inverse = nodes.unique(return_inverse=True)
    subgraph = graph.around(seeds, n_layers, generator)
    initial = joint_rows(users, items, subgraph.nodes)
    return functional.embedding(inverse, subgraph.layer_mean(initial)), functional.embedding(inverse, initial)


def joint_rows(
    first: Float[Tensor, "upper dim"], second: Float[Tensor, "lower dim"], rows: Int[Tensor, " rows"]
) -> Float[Tensor, "rows dim"]:
    """Rows of two tables stacked vertically, without a copy of the stacked table."""
    in_first = rows < len(first)
    x = torch.cat(
        [functional.embedding(rows[in_first], first), functional.embedding(rows[~in_first] - len(first), second)]
    )
    return torch.zeros_like(x).index_copy(0, torch.cat([in_first.nonzero(), (~in_first).nonzero()]).flatten(), x)
