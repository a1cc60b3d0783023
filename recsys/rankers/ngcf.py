"""NGCF: message passing with learned weights, used as the collaborative model of MICRO."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from recsys.graphs.propagation import Propagation


class NGCF(nn.ModuleList):
    """NGCF's layers; the result is the mean of x and of every layer's output normalised to length 1.

    As MICRO's reference code has it; Wang et al. (2019, eq. 9) concatenate them instead.

    Args:
        dim: width of all layers.
        n_layers: number of layers.
        dropout: dropout of a layer's output, in training.
    """

    def __init__(self, dim: int, n_layers: int, dropout: float) -> None:
        super().__init__(NGCFLayer(dim, dropout) for _ in range(n_layers))

    def forward(self, graph: Propagation, x: Float[Tensor, "nodes dim"]) -> Float[Tensor, "nodes dim"]:
        """Final embeddings of all nodes."""
        layers = [x]
        for layer in self:
            x = layer(x, graph(x))
            layers.append(functional.normalize(x, dim=-1))
        return torch.stack(layers).mean(dim=0)


class NGCFLayer(nn.Module):
    """LeakyReLU(W1 m + b1) + LeakyReLU(W2 (x * m) + b2) with messages m = A x, then dropout (Wang et al. 2019, eq. 7).

    As MICRO's reference code has it: x itself enters through the self-loops of A only, and both terms have a LeakyReLU
    of their own (slope 0.01).
    """

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.plain, self.product = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "nodes dim"], messages: Float[Tensor, "nodes dim"]
    ) -> Float[Tensor, "nodes dim"]:
        """The layer's output, not normalised."""
        output = functional.leaky_relu(self.plain(messages)) + functional.leaky_relu(self.product(x * messages))
        return self.dropout(output)
