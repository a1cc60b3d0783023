"""The contrastive loss between two views of all items, and the items that stand for all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

SIMILARITIES = 2**23
"""Most similarities that are held at a time: 32 MB in float32, whatever the number of anchors and items."""


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
    rest = LogSumExpOfOthers.apply(one_i / temperature, torch.cat([one_j, two_j]), own)
    rest = rest + (((n_items or len(others)) - 1) / drawn).log()
    # -log(e^p / (e^p + rest)) = softplus(log rest - p)
    return functional.softplus(rest - positive).mean()


class LogSumExpOfOthers(torch.autograd.Function):
    """log sum_j e^(q_i . k_j) over all keys but the anchor's own two; both passes hold a few rows at a time.

    The keys are two views of the same items, one below the other. Where one block holds all similarities they are kept
    for the backward pass; otherwise that pass computes them again, and memory does not grow with anchors times items.
    """

    @staticmethod
    def forward(
        ctx: Any, queries: Float[Tensor, "anchors dim"], keys: Float[Tensor, "twice dim"], own: Int[Tensor, " anchors"]
    ) -> Float[Tensor, " anchors"]:
        ctx.kept, sums = None, []
        for q, o in _blocks(queries, own, keys=keys):
            similarity = _similarities(q, keys, o)
            sums.append(similarity.logsumexp(1))
            ctx.kept = similarity if len(q) == len(queries) else None
        total = torch.cat(sums).clamp_min(torch.finfo(queries.dtype).min)  # an item without others: 0, not NaN
        ctx.save_for_backward(queries, keys, own, total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        queries, keys, own, total = ctx.saved_tensors
        of_queries, of_keys = torch.empty_like(queries), torch.zeros_like(keys)
        start = 0
        for q, o, t, g in _blocks(queries, own, total, gradients[0], keys=keys):
            similarity = _similarities(q, keys, o) if ctx.kept is None else ctx.kept
            share = (similarity - t[:, None]).exp_().mul_(g[:, None])
            torch.mm(share, keys, out=of_queries[start : start + len(q)])
            of_keys.addmm_(share.T, q)
            start += len(q)
        return of_queries, of_keys, None


def _blocks(*columns: Tensor, keys: Tensor) -> Iterator[list[Tensor]]:
    rows = max(1, SIMILARITIES // len(keys))
    for start in range(0, len(columns[0]), rows):
        yield [column[start : start + rows] for column in columns]


def _similarities(queries: Tensor, keys: Tensor, own: Tensor) -> Tensor:
    similarity = queries @ keys.T
    row, half = (own >= 0).nonzero().flatten(), len(keys) // 2
    similarity[row, own[row]] = similarity[row, own[row] + half] = -torch.inf
    return similarity
