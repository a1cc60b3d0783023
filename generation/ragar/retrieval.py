"""Retrieval: which part of a user's history is about the reference item (eq. 3-5)."""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Normalization = Literal["none", "minmax", "zscore"]
HistoryMode = Literal["top_k", "next_k", "random"]
"""The most similar items, the ranks (k, 2k], or any: figure 2's Ret, Exp-Ret and Random."""


def similarities(
    reference: Float[Tensor, "batch dim"], history: Float[Tensor, "batch items dim"]
) -> Float[Tensor, "batch items"]:
    """Cosine of the reference's caption with each historical caption (eq. 3); a zero vector is similar to nothing."""
    unit = torch.nn.functional.normalize
    return torch.einsum("bd,bnd->bn", unit(reference, dim=-1), unit(history, dim=-1))


def select(
    scores: Float[Tensor, "batch items"], present: Bool[Tensor, "batch items"], k: int, *, first: int = 0
) -> tuple[Int[Tensor, "batch k"], Bool[Tensor, "batch k"]]:
    """Positions of the items with ranks ``first + 1 … first + k``, and which of them exist.

    A history shorter than that gives what it has. Equal scores keep the order of the history.

    Raises:
        ValueError: ``k`` is not positive.
    """
    if k < 1:
        raise ValueError(f"retrieval needs k >= 1, got {k}")
    order = scores.masked_fill(~present, -torch.inf).argsort(dim=-1, descending=True, stable=True)
    missing = first + k - order.shape[1]
    if missing > 0:
        order = torch.nn.functional.pad(order, (0, missing), value=-1)
    chosen = order[:, first : first + k]
    exists = (chosen >= 0) & present.gather(1, chosen.clamp_min(0))
    return chosen.clamp_min(0), exists


def retrieval_weights(
    scores: Float[Tensor, "batch k"],
    exists: Bool[Tensor, "batch k"],
    *,
    temperature: float = 1.0,
    normalization: Normalization = "minmax",
) -> Float[Tensor, "batch k"]:
    """Softmax of the normalised similarities (eq. 5); rows sum to 1, or are all 0 where nothing was retrieved.

    The paper does not say how s' is normalised. The softmax of raw cosines (``none``) is almost flat; ``minmax``, the
    default, and ``zscore`` are over the k retrieved ones. docs/results.md says what each is worth to a ranker.

    Raises:
        ValueError: ``temperature`` is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"retrieval needs a temperature above 0, got {temperature}")
    count = exists.sum(1, keepdim=True).clamp_min(1)
    known = scores.masked_fill(~exists, 0)
    if normalization == "zscore":
        mean = known.sum(1, keepdim=True) / count
        variance = ((scores - mean).masked_fill(~exists, 0) ** 2).sum(1, keepdim=True) / count
        scores = (scores - mean) / variance.clamp_min(1e-12).sqrt()  # (a root has no gradient at 0)
    elif normalization == "minmax":
        low = scores.masked_fill(~exists, torch.inf).amin(1, keepdim=True)
        high = scores.masked_fill(~exists, -torch.inf).amax(1, keepdim=True)
        scores = (scores - low) / (high - low).clamp_min(1e-6)
    weights = (scores / temperature).masked_fill(~exists, -torch.inf).softmax(dim=1)
    return torch.where(exists.any(1, keepdim=True), weights, torch.zeros_like(weights))


def aggregate(
    weights: Float[Tensor, "batch k"], features: Float[Tensor, "batch k dim"], pictured: Bool[Tensor, "batch k"]
) -> Float[Tensor, "batch dim"]:
    """``P_ret``: the weighted mean of the retrieved items' visual features (eq. 5).

    Items without a picture hand their weight to the others; zeros where none of them has one.
    """
    weights = weights * pictured
    weights = weights / weights.sum(1, keepdim=True).clamp_min(1e-12)
    return torch.einsum("bk,bkd->bd", weights, features)
