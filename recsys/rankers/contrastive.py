"""The contrastive loss between two views of all items, and the items that stand for all."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

SIMILARITIES = 2**20
"""Most similarities that are held at a time: 4 MB in float32, whatever the number of anchors and items."""


def draw_items(n_items: int, count: int | str, *, generator: torch.Generator) -> Int[Tensor, " drawn"]:
    """`count` different items drawn uniformly (all of them if there are no more), or all for "all"."""
    if count == "all":
        return torch.arange(n_items)
    return torch.randperm(n_items, generator=generator)[: int(count)]


def contrastive_loss(
    one: Float[Tensor, "items dim"],
    two: Float[Tensor, "items dim"],
    anchors: Int[Tensor, " anchors"],
    temperature: float,
    negatives: Int[Tensor, " negatives"] | None = None,
    n_items: int | None = None,
) -> Float[Tensor, ""]:
    """Pulls each item's two views together and away from all other items (Zhang et al. 2023, contrastive fusion).

    With s = cos / temperature, the mean over anchors i of
    -log[ e^s(1_i,2_i) / (sum_j e^s(1_i,1_j) + sum_j e^s(1_i,2_j) - e^s(1_i,1_i)) ], one direction, every item j a
    negative. Anchors drawn uniformly leave it an unbiased estimate of the loss over all items.

    With `negatives` that stand for `n_items`, the sums over j != i are scaled up to all. The logarithm of an estimated
    sum is biased downwards (by its relative variance / 2): an approximation for very large catalogues, whose cost does
    not grow with them.

    Args:
        one: the view whose items look for themselves; rows of zeros are allowed.
        two: the view in which they find themselves.
        anchors: rows of the items i.
        temperature: tau.
        negatives: rows of the items j, all different; None is every row.
        n_items: how many items the negatives stand for; None is themselves.
    """
    if torch.is_autocast_enabled(one.device.type):  # exponentials of similarities want all their digits
        with torch.autocast(one.device.type, enabled=False):
            return contrastive_loss(one.float(), two.float(), anchors, temperature, negatives, n_items)
    anchors = anchors.to(one.device)
    others = torch.arange(len(one), device=one.device) if negatives is None else negatives.to(one.device)
    # embedding() has a faster gradient than indexing.
    one_i, two_i, one_j, two_j = (
        functional.normalize(functional.embedding(rows, view), dim=-1)
        for rows in (anchors, others)
        for view in (one, two)
    )
    positive = (one_i * two_i).sum(-1) / temperature
    position = torch.full((len(one),), -1, device=one.device)
    position[others] = torch.arange(len(others), device=one.device)
    own = position[anchors]  # where an anchor stands among the negatives, -1 if it does not
    drawn = (len(others) - (own >= 0).to(one.dtype)).clamp_min(1)  # negatives that are not the anchor itself
    scale = (((n_items or len(others)) - 1) / drawn).log()
    return _InOnePass.apply(one_i / temperature, torch.cat([one_j, two_j]), positive, own, scale)


class _InOnePass(torch.autograd.Function):
    """Mean over anchors i of softplus(rest_i - p_i), e^rest_i = e^scale_i sum_j e^(q_i . k_j) over keys j but i's own.

    -log(e^p / (e^p + e^rest)) = softplus(rest - p). The keys are two views of the same items, one below the other;
    `own` is i's place in each. A few anchors at a time, in one buffer: their exponentials give the value, and at once
    the gradients, so that nothing that grows with anchors times items is kept.
    """

    @staticmethod
    def forward(
        ctx: Any,
        queries: Float[Tensor, "anchors dim"],
        keys: Float[Tensor, "twice dim"],
        positive: Float[Tensor, " anchors"],
        own: Int[Tensor, " anchors"],
        scale: Float[Tensor, " anchors"],
    ) -> Float[Tensor, ""]:
        rows = max(1, SIMILARITIES // len(keys))
        buffer = queries.new_empty(min(rows, len(queries)), len(keys))
        losses, of_positive, of_queries = (torch.empty_like(x) for x in (positive, positive, queries))
        of_keys = torch.zeros_like(keys)
        for start in range(0, len(queries), rows):
            here = slice(start, start + rows)
            q = queries[here]
            largest, exponentials = _exponentials(q, keys, own[here], buffer[: len(q)])
            total = exponentials.sum(1).clamp_min(torch.finfo(keys.dtype).tiny)
            gap = total.log() + largest + scale[here] - positive[here]
            losses[here], share = functional.softplus(gap), gap.sigmoid()
            of_positive[here] = -share
            weight = (share / total)[:, None]
            torch.mm(exponentials, keys, out=of_queries[here]).mul_(weight)
            of_keys.addmm_(exponentials.T, q * weight)
        ctx.save_for_backward(of_queries, of_keys, of_positive)
        return losses.mean()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        of_queries, of_keys, of_positive = ctx.saved_tensors
        each = gradients[0] / len(of_queries)
        return each * of_queries, each * of_keys, each * of_positive, None, None


def _exponentials(
    queries: Float[Tensor, "rows dim"], keys: Float[Tensor, "twice dim"], own: Int[Tensor, " rows"], out: Tensor
) -> tuple[Float[Tensor, " rows"], Float[Tensor, "rows twice"]]:
    """The largest product of each row with a key that is not its own, and e^(product - largest), 0 for its own."""
    torch.mm(queries, keys.T, out=out)
    row, half = (own >= 0).nonzero().flatten(), len(keys) // 2
    out[row, own[row]] = out[row, own[row] + half] = -torch.inf
    largest = out.amax(1).clamp_min(torch.finfo(out.dtype).min)  # finite where there is no other
    return largest, out.sub_(largest[:, None]).exp_()
