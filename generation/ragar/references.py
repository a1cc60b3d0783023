"""Several references in one picture: their weights, and the weighted means of what is made of each."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from generation.request import Explanation

References = str | Sequence[str] | Mapping[str, float]
"""An item, several of equal weight, or several with their weights."""


def reference_weights(reference: References) -> dict[str, float]:
    """The references with a positive weight and their weights, scaled to sum to 1, the heaviest first.

    Raises:
        ValueError: there is none, or a weight is negative or no number.
    """
    if isinstance(reference, str):
        return {reference: 1.0}
    weights = dict(reference) if isinstance(reference, Mapping) else dict(Counter(reference))
    total = sum(weights.values())
    # ``not 0 < total`` is also true of NaN.
    if not 0 < total < float("inf") or min(weights.values()) < 0:
        raise ValueError(f"references need weights that are not negative and some that are not 0, got {weights}")
    heaviest_first = sorted(weights, key=lambda item: -weights[item])
    return {item: weights[item] / total for item in heaviest_first if weights[item] > 0}


def blend(tensors: Sequence[Tensor], weights: Iterable[float]) -> Tensor:
    """Weighted sum of one tensor a reference; a single tensor of weight 1 is returned bit for bit."""
    return torch.stack([weight * tensor for weight, tensor in zip(weights, tensors, strict=True)]).sum(0)


def merge_explanations(explanations: Sequence[Explanation], weights: Iterable[float]) -> Explanation:
    """The explanation of a blend: an item's weight is its weighted mean over the references."""
    retrieved: dict[str, float] = {}
    for explanation, share in zip(explanations, weights, strict=True):
        for item, weight in zip(explanation.retrieved, explanation.weights, strict=True):
            retrieved[item] = retrieved.get(item, 0.0) + share * weight
    keywords = dict.fromkeys(word for explanation in explanations for word in explanation.keywords)
    return Explanation(tuple(retrieved), tuple(retrieved.values()), tuple(keywords))
