"""Message passing over a fixed graph: A x, its gradient, and repeated steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from recsys.graphs.adjacency import Edges, csr
from recsys.recbole.isolation import quiet

with quiet():
    from torch_geometric.nn import LGConv

_CONVOLUTION = LGConv(normalize=False)  # It has no parameters; the graph is normalised beforehand.
_BLOCK = 2**18  # Edges whose endpoints are gathered at a time: 64 MB at 64 dimensions.


class Propagation:
    """The linear map x -> A x, computed by torch-geometric's LGConv over a torch CSR matrix A.

    The transpose is stored beside the matrix: torch's own gradient of a CSR product transposes it at every step, which
    costs 15 times as much as the product itself.
    """

    def __init__(self, matrix: Tensor) -> None:
        with quiet():
            self.matrix = matrix
            self.transposed = matrix.to_sparse_coo().t().coalesce().to_sparse_csr()

    @classmethod
    def of(cls, edges: Edges, size: int) -> Propagation:
        """Build it from edges, A[row, column] = value with repeated positions summed; the values carry no gradient."""
        row, column, value = edges
        return cls(csr(row, column, value.detach(), size))

    def __deepcopy__(self, memo: dict[int, Any]) -> Propagation:
        return self  # It is immutable, and torch cannot copy a CSR matrix.

    def __call__(self, x: Float[Tensor, "nodes dim"]) -> Float[Tensor, "nodes dim"]:
        """A x; differentiable in x, not in A."""
        # In A's type inside autocast too: torch has no CSR product in half precision.
        with torch.autocast(x.device.type, enabled=False):
            return _Step.apply(x.to(self.matrix.dtype), self)


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, graph: Propagation) -> Tensor:
        ctx.graph = graph
        return _CONVOLUTION(x, graph.matrix)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _CONVOLUTION(gradients[0].contiguous(), ctx.graph.transposed), None


def propagate_edges(x: Float[Tensor, "nodes dim"], edges: Edges, graph: Propagation) -> Float[Tensor, "nodes dim"]:
    """A x, differentiable in x and in the values of the edges; `graph` is `Propagation.of(edges, ...)`.

    The gradient of a value is g_row . x_column; it is computed in blocks of edges, so that no tensor of size
    edges x dim is held.
    """
    row, column, value = edges
    with torch.autocast(x.device.type, enabled=False):
        return _Edges.apply(x.to(graph.matrix.dtype), value, row, column, graph)


class _Edges(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, row: Tensor, column: Tensor, graph: Propagation) -> Tensor:
        ctx.graph = graph
        ctx.save_for_backward(x, row, column)
        return _CONVOLUTION(x, graph.matrix)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        x, row, column = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        blocks = zip(row.split(_BLOCK), column.split(_BLOCK), strict=True)
        value_gradient = torch.cat([(gradient[i] * x[j]).sum(-1) for i, j in blocks])
        return _CONVOLUTION(gradient, ctx.graph.transposed), value_gradient, None, None, None


def power(step: Callable[[Tensor], Tensor], x: Float[Tensor, "nodes dim"], n_layers: int) -> Float[Tensor, "nodes dim"]:
    """A^n x for n = `n_layers` and the linear map `step`, x -> A x; x itself for 0 layers."""
    for _ in range(n_layers):
        x = step(x)
    return x


def layer_mean(graph: Propagation, x: Float[Tensor, "nodes dim"], n_layers: int) -> Float[Tensor, "nodes dim"]:
    """Mean of x, A x, ..., A^n x for n = `n_layers` (He et al. 2020, LightGCN, eq. 3-4 with equal weights)."""
    total = layer = x
    for _ in range(n_layers):
        layer = graph(layer)
        total = total + layer
    return total / (n_layers + 1)
