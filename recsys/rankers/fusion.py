"""Attention that fuses the embeddings of an item's modalities into one."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class Fusion(nn.Module):
    """Attention over modalities per item: a_m = q . tanh(W h_m + b), softmax over m, h = sum_m a_m h_m."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.hidden, self.query = nn.Linear(dim, dim), nn.Linear(dim, 1, bias=False)

    def forward(
        self, hidden: Float[Tensor, "modalities items dim"], present: Bool[Tensor, "modalities items"]
    ) -> Float[Tensor, "items dim"]:
        """Fused embeddings; an absent modality gets no attention, an item without any modality a row of zeros."""
        logits = self.query(torch.tanh(self.hidden(hidden))).squeeze(-1)
        # The least finite value, not -inf: softmax over modalities that are all absent would be NaN.
        weights = logits.masked_fill(~present, torch.finfo(logits.dtype).min).softmax(dim=0) * present
        return (weights[..., None] * hidden).sum(dim=0)
