"""Retrieval, equation by equation: similarities (eq. 3), top-k, weights and P_ret (eq. 5), on tensors.

`history.py` applies these functions to the histories of requests. Eq. 2 and eq. 4, the encoders, are in
`generation/gallery.py`.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from generation.ragar.config import Normalization


def similarities(
    reference: Float[Tensor, "batch dim"], history: Float[Tensor, "batch items dim"]
) -> Float[Tensor, "batch items"]:
    """Cosines of the reference's caption with each caption of the history (eq. 3); 0 for a zero vector."""
    return torch.einsum("bd,bnd->bn", F.normalize(reference, dim=-1), F.normalize(history, dim=-1))


def with_taste(
    similarities: Float[Tensor, "batch items"],
    taste: Float[Tensor, "batch visual"],
    features: Float[Tensor, "batch items visual"],
    present: Bool[Tensor, "batch items"],
    share: float,
) -> Float[Tensor, "batch items"]:
    """Scores by which items are retrieved: part likeness to the reference (eq. 3), part fit to the person's taste.

    The paper retrieves by likeness alone. What is like the reference need not show what the ranker rewards this person
    for: then a picture that follows the one contradicts the other. An item's fit is the cosine of its picture's feature
    with the taste. Both are in deviations from their mean over the history, as cosines of words vary by hundredths.

    Args:
        similarities: of the history's captions with the reference's.
        taste: a vector a person, in the pictures' features; zeros where she has none.
        features: of the history's pictures, less the catalogue's mean; zeros where there is none, which fits like it.
        present: which items are no padding.
        share: of the taste, from 0 to 1.
    """
    fit = torch.einsum("bd,bnd->bn", taste, F.normalize(features, dim=-1))
    return (1 - share) * _standardised(similarities, present) + share * _standardised(fit, present)


def select(
    scores: Float[Tensor, "batch items"], present: Bool[Tensor, "batch items"], k: int, *, offset: int = 0
) -> tuple[Int[Tensor, "batch k"], Bool[Tensor, "batch k"]]:
    """Positions of the items with ranks ``offset + 1 … offset + k``, and which of them exist.

    A shorter history gives as many as it has; positions that do not exist are returned as some valid position, so that
    all can be gathered. Equal scores keep the order of the history.

    Raises:
        ValueError: ``k`` is not positive.
    """
    if k < 1:
        raise ValueError(f"retrieval needs k >= 1, got {k}")
    # A stable sort: which of two equal captions is taken must not depend on the sorting algorithm.
    order = scores.masked_fill(~present, -torch.inf).argsort(dim=-1, descending=True, stable=True)
    missing = offset + k - order.shape[1]
    if missing > 0:
        order = F.pad(order, (0, missing), value=-1)
    chosen = order[:, offset : offset + k]
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

    The paper does not say how s' is normalised. The softmax of raw cosines (``none``) is almost flat: .95 to .75 give
    weights of .22 to .18. ``minmax``, the default, and ``zscore`` normalise over the k retrieved similarities.
    docs/results.md measures what each is worth to a ranker.

    Raises:
        ValueError: ``temperature`` is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"retrieval needs a temperature above 0, got {temperature}")
    if normalization == "zscore":
        scores = _standardised(scores, exists)
    elif normalization == "minmax":
        low = scores.masked_fill(~exists, torch.inf).amin(1, keepdim=True)
        high = scores.masked_fill(~exists, -torch.inf).amax(1, keepdim=True)
        scores = (scores - low) / (high - low).clamp_min(1e-6)
    weights = (scores / temperature).masked_fill(~exists, -torch.inf).softmax(dim=1)
    # The softmax of a row that is -inf everywhere is NaN.
    return torch.where(exists.any(1, keepdim=True), weights, torch.zeros_like(weights))


def aggregate(
    weights: Float[Tensor, "batch k"], features: Float[Tensor, "batch k dim"], pictured: Bool[Tensor, "batch k"]
) -> Float[Tensor, "batch dim"]:
    """P_ret, the weighted mean of the retrieved items' visual features (eq. 5).

    The weight of an item without a picture goes to the others in proportion; zeros where no item has a picture.
    """
    weights = weights * pictured
    weights = weights / weights.sum(1, keepdim=True).clamp_min(1e-12)
    return torch.einsum("bk,bkd->bd", weights, features)


def _standardised(scores: Float[Tensor, "batch k"], exists: Bool[Tensor, "batch k"]) -> Float[Tensor, "batch k"]:
    """Deviations from the mean over what exists, in units of its standard deviation; 0 where all are equal."""
    count = exists.sum(1, keepdim=True).clamp_min(1)
    mean = scores.masked_fill(~exists, 0).sum(1, keepdim=True) / count
    variance = ((scores - mean).masked_fill(~exists, 0) ** 2).sum(1, keepdim=True) / count
    # Clamped under the root, whose gradient at 0 is infinite.
    return (scores - mean) / variance.clamp_min(1e-12).sqrt()
