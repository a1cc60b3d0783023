"""Contrastive loss between two views of all items, and sampling of its anchors and negatives."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

SIMILARITIES = 2**20
"""Maximum number of similarities held at a time: 4 MB in float32, whatever the number of anchors and items."""


def draw_items(n_items: int, count: int | str, *, generator: torch.Generator) -> Int[Tensor, " drawn"]:
    """`count` distinct items drawn uniformly (at most all of them), or all items in order for "all"."""
    if count == "all":
        return torch.arange(n_items)
    return torch.randperm(n_items, generator=generator)[: int(count)]


def contrastive_loss(
    view: Float[Tensor, "items dim"],
    other_view: Float[Tensor, "items dim"],
    anchors: Int[Tensor, " anchors"],
    temperature: float,
    negatives: Int[Tensor, " negatives"] | None = None,
    n_items: int | None = None,
) -> Float[Tensor, ""]:
    """InfoNCE between two views: pulls an item's views together and away from all others (Zhang et al. 2023, MICRO).

    With v and w the rows of the two views and s = cos / temperature, the mean over anchors i of
    -log[ e^s(v_i,w_i) / (sum_j e^s(v_i,v_j) + sum_j e^s(v_i,w_j) - e^s(v_i,v_i)) ], in one direction only, with every
    item j a negative. With uniformly drawn anchors it is an unbiased estimate of the loss over all items.

    With `negatives` that represent `n_items`, the sums over j != i are scaled up to all items. The logarithm of an
    estimated sum is biased downwards (by half its relative variance): an approximation for very large catalogues, whose
    cost does not grow with them.

    Args:
        view: the view of the anchors, v; rows of zeros are allowed.
        other_view: the view of the positives, w.
        anchors: rows of the items i.
        temperature: tau.
        negatives: rows of the items j, all distinct; None for all rows.
        n_items: number of items that the negatives represent; None for their own number.
    """
    if torch.is_autocast_enabled(view.device.type):  # exponentials of similarities need full precision
        with torch.autocast(view.device.type, enabled=False):
            return contrastive_loss(view.float(), other_view.float(), anchors, temperature, negatives, n_items)
    anchors = anchors.to(view.device)
    candidates = torch.arange(len(view), device=view.device) if negatives is None else negatives.to(view.device)
    # embedding() has a faster gradient than indexing.
    v_i, w_i, v_j, w_j = (
        functional.normalize(functional.embedding(rows, table), dim=-1)
        for rows in (anchors, candidates)
        for table in (view, other_view)
    )
    positive = (v_i * w_i).sum(-1) / temperature
    position = torch.full((len(view),), -1, device=view.device)
    position[candidates] = torch.arange(len(candidates), device=view.device)
    own = position[anchors]  # position of each anchor among the negatives, -1 if it is not one of them
    n_negatives = (len(candidates) - (own >= 0).to(view.dtype)).clamp_min(1)  # without the anchor itself
    log_scale = (((n_items or len(candidates)) - 1) / n_negatives).log()
    return _OnePassInfoNCE.apply(v_i / temperature, torch.cat([v_j, w_j]), positive, own, log_scale)


class _OnePassInfoNCE(torch.autograd.Function):
    """Mean over anchors i of softplus(n_i - p_i), e^n_i = e^log_scale_i sum_j e^(q_i . k_j) over keys j except i's own.

    -log(e^p / (e^p + e^n)) = softplus(n - p). The keys are two views of the same items, one below the other; `own` is
    i's position in each. Anchors are processed in blocks that share one buffer: their exponentials give the value and,
    in the same pass, the gradients, so that no tensor of size anchors x items is stored for the backward pass.
    """

    @staticmethod
    def forward(
        ctx: Any,
        queries: Float[Tensor, "anchors dim"],
        keys: Float[Tensor, "twice dim"],
        positive: Float[Tensor, " anchors"],
        own: Int[Tensor, " anchors"],
        log_scale: Float[Tensor, " anchors"],
    ) -> Float[Tensor, ""]:
        rows = max(1, SIMILARITIES // len(keys))
        buffer = queries.new_empty(min(rows, len(queries)), len(keys))
        losses, positive_grad, query_grad = (torch.empty_like(x) for x in (positive, positive, queries))
        key_grad = torch.zeros_like(keys)
        for start in range(0, len(queries), rows):
            block = slice(start, start + rows)
            q = queries[block]
            largest, exponentials = _exponentials(q, keys, own[block], buffer[: len(q)])
            # Without any other item the sum is 0; its logarithm must stay finite.
            total = exponentials.sum(1).clamp_min(torch.finfo(keys.dtype).tiny)
            gap = total.log() + largest + log_scale[block] - positive[block]  # n - p
            losses[block], slope = functional.softplus(gap), gap.sigmoid()
            positive_grad[block] = -slope
            weight = (slope / total)[:, None]
            torch.mm(exponentials, keys, out=query_grad[block]).mul_(weight)
            key_grad.addmm_(exponentials.T, q * weight)
        ctx.save_for_backward(query_grad, key_grad, positive_grad)
        return losses.mean()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query_grad, key_grad, positive_grad = ctx.saved_tensors
        per_anchor = gradients[0] / len(query_grad)
        return per_anchor * query_grad, per_anchor * key_grad, per_anchor * positive_grad, None, None


def _exponentials(
    queries: Float[Tensor, "rows dim"], keys: Float[Tensor, "twice dim"], own: Int[Tensor, " rows"], out: Tensor
) -> tuple[Float[Tensor, " rows"], Float[Tensor, "rows twice"]]:
    """The largest product of each query with a key that is not its own, and e^(product - largest), 0 for its own.

    Subtracting the largest product keeps the exponentials from overflowing.
    """
    torch.mm(queries, keys.T, out=out)
    row, half = (own >= 0).nonzero().flatten(), len(keys) // 2
    out[row, own[row]] = out[row, own[row] + half] = -torch.inf
    largest = out.amax(1).clamp_min(torch.finfo(out.dtype).min)  # finite where there are no other keys
    return largest, out.sub_(largest[:, None]).exp_()
