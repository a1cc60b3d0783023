"""The contrastive loss between two views of all items, and the items that stand for all."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional


def draw_anchors(n_items: int, anchors: int | str, *, generator: torch.Generator) -> Int[Tensor, " anchors"]:
    """`anchors` different items drawn uniformly (all of them if there are no more), or all for "all"."""
    if anchors == "all":
        return torch.arange(n_items)
    return torch.randperm(n_items, generator=generator)[:anchors]


def contrastive_loss(
    one: Float[Tensor, "items dim"],
    two: Float[Tensor, "items dim"],
    anchors: Int[Tensor, " anchors"],
    temperature: float,
) -> Float[Tensor, ""]:
    """Pulls each item's two views together and away from all other items (Zhang et al. 2023, contrastive fusion).

    With s = cos / temperature, the mean over anchors i of
    -log[ e^s(1_i,2_i) / (sum_j e^s(1_i,1_j) + sum_j e^s(1_i,2_j) - e^s(1_i,1_i)) ], one direction, every item j a
    negative. Anchors drawn uniformly leave it an unbiased estimate of the loss over all items.
    """
    anchors = anchors.to(one.device)
    one, two = functional.normalize(one, dim=-1), functional.normalize(two, dim=-1)
    own = (one[anchors] @ one.T / temperature).exp()  # (anchors, items)
    other = (one[anchors] @ two.T / temperature).exp()
    here = torch.arange(len(anchors), device=anchors.device)
    positive = other[here, anchors]
    return (torch.log(own.sum(1) + other.sum(1) - own[here, anchors]) - torch.log(positive)).mean()
