"""The part of a graph that a batch reads: exact with all neighbours, an unbiased estimate with a few of each node."""

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
    """Some rows of a graph, as a bag of weighted columns each: x -> A[rows] x.

    Attributes:
        starts: where each row's columns begin.
        columns: positions in the x that the hop reads.
        weights: the entries of A.
    """

    starts: Int[Tensor, " rows"]
    columns: Int[Tensor, " edges"]
    weights: Float[Tensor, " edges"]

    def __call__(self, x: Float[Tensor, "columns dim"]) -> Float[Tensor, "rows dim"]:
        """Differentiable in x, not in A."""
        return functional.embedding_bag(self.columns, x, self.starts, mode="sum", per_sample_weights=self.weights)


@dataclass(frozen=True)
class Subgraph:
    """What the embeddings of some nodes read, one hop after the other.

    Attributes:
        nodes: whose initial embeddings are read; those asked for come first, in their order.
        hops: the first maps the embeddings of `nodes` to a beginning of `nodes`, the next ones to ever shorter
            beginnings, the last one to the nodes asked for.
    """

    nodes: Int[Tensor, " nodes"]
    hops: Sequence[Hop]

    @property
    def asked(self) -> int:
        """How many nodes were asked for."""
        return len(self.hops[-1].starts) if self.hops else len(self.nodes)

    def layer_mean(self, x: Float[Tensor, "nodes dim"]) -> Float[Tensor, "asked dim"]:
        """Mean of x and of its propagations at the nodes asked for, as `propagation.layer_mean` at all."""
        total = x[: self.asked]
        for hop in self.hops:
            x = hop(x)
            total = total + x[: self.asked]
        return total / (len(self.hops) + 1)

    def last(self, x: Float[Tensor, "nodes dim"]) -> Float[Tensor, "asked dim"]:
        """The last propagation of x, at the nodes asked for."""
        for hop in self.hops:
            x = hop(x)
        return x


class Neighbourhoods:
    """Draws subgraphs of a fixed graph, on the CPU.

    With `fanout` "all", A x is exact at the nodes asked for. With a number, a node with more neighbours reads that many
    different ones, each with probability fanout / degree, and weighs them up by degree / fanout. Every hop draws anew,
    so that A^l x is unbiased for every l; what is not linear in it (the loss, and a product of two nodes that drew
    together) is an approximation.

    Args:
        matrix: a square torch CSR matrix.
        fanout: most neighbours per node and hop.
    """

    def __init__(self, matrix: Tensor, fanout: int | str) -> None:
        check_whole({"fanout": fanout}, "fanout", least=1, word="all")
        self._most = None if fanout == "all" else int(fanout)
        self._starts, self._columns, self._values = (
            part.cpu() for part in (matrix.crow_indices(), matrix.col_indices(), matrix.values())
        )
        self._position = torch.full((len(matrix),), -1)  # Scratch: -1 everywhere between two calls.

    def around(self, nodes: Int[Tensor, " asked"], n_hops: int, generator: torch.Generator) -> Subgraph:
        """What `n_hops` propagations read at these nodes, which must differ; on their device."""
        device, nodes, hops = nodes.device, nodes.cpu(), list[Hop]()
        if self._most is not None:  # One draw, however many nodes: what else the generator gives stays the same.
            seed = int(torch.randint(2**62, (), generator=generator))
            generator = torch.Generator().manual_seed(seed)
        for _ in range(n_hops):
            starts, columns, weights = self._neighbours(nodes, generator)
            nodes, columns = self._joined(nodes, columns)
            hops.append(Hop(starts.to(device), columns.to(device), weights.to(device)))
        return Subgraph(nodes.to(device), hops[::-1])

    def _neighbours(self, nodes: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        first = self._starts[nodes]
        degree = self._starts[nodes + 1] - first
        taken = degree if self._most is None else degree.clamp(max=self._most)
        starts = taken.cumsum(0) - taken
        row = torch.arange(len(nodes)).repeat_interleave(taken)
        # Systematic sampling: every (degree / taken)th neighbour from a random start. Where all are taken, each once.
        stride = degree.double() / taken.clamp(min=1)
        shift = torch.zeros(len(nodes)) if self._most is None else torch.rand(len(nodes), generator=generator)
        place = (torch.arange(len(row)) - starts[row] + shift.double()[row]) * stride[row]
        edge = first[row] + place.long()
        return starts, self._columns[edge], self._values[edge] * stride[row].to(self._values.dtype)

    def _joined(self, nodes: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """The nodes with the columns that are not among them, and where each column stands there."""
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
    """`propagation.layer_mean` of the user-item graph at some nodes, which may repeat, and their initial embeddings."""
    asked, place = nodes.unique(return_inverse=True)
    part = graph.around(asked, n_layers, generator)
    initial = joint_rows(users, items, part.nodes)
    return functional.embedding(place, part.layer_mean(initial)), functional.embedding(place, initial)


def joint_rows(
    first: Float[Tensor, "upper dim"], second: Float[Tensor, "lower dim"], rows: Int[Tensor, " rows"]
) -> Float[Tensor, "rows dim"]:
    """Rows of the two tables one below the other, which are not copied into one for it."""
    upper = rows < len(first)
    x = torch.cat([functional.embedding(rows[upper], first), functional.embedding(rows[~upper] - len(first), second)])
    return torch.zeros_like(x).index_copy(0, torch.cat([upper.nonzero(), (~upper).nonzero()]).flatten(), x)
