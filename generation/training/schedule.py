"""Batches, learning rates and moving averages, step by step."""

from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Int
from torch import Tensor


def next_batch(
    queue: Int[Tensor, " queue"], n: int, size: int, generator: torch.Generator
) -> tuple[Int[Tensor, " batch"], Int[Tensor, " rest"]]:
    """The next batch of at most ``size`` of ``n`` indices, and the rest of the queue; each epoch has a new order."""
    # A batch may end one epoch and begin the next: no example is left out because `size` does not divide `n`.
    while len(queue) < min(size, n):
        queue = torch.cat([queue, torch.randperm(n, generator=generator)])
    return queue[:size], queue[size:]


def batches(n: int, size: int, steps: int, generator: torch.Generator) -> Iterator[Int[Tensor, " batch"]]:
    """``steps`` batches of at most ``size`` of ``n`` indices, epoch after epoch, each epoch in a new order."""
    queue = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        rows, queue = next_batch(queue, n, size, generator)
        yield rows


def one_cycle(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Linear warm-up over 5 % of the steps, then linear decay to zero."""
    warm = max(1, steps // 20)
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, (steps - step) / max(1, steps - warm))
    )


def update_average(average: Iterable[Tensor], weights: Iterable[Tensor], step: int, decay: float) -> None:
    """Move an exponential moving average towards the weights of this step.

    The decay begins lower, at (1 + step) / (15 + step): otherwise a short training would end near its initial weights.
    """
    decay = min(decay, (1 + step) / (15 + step))
    for averaged, current in zip(average, weights, strict=True):
        averaged.lerp_(current.detach(), 1 - decay)
