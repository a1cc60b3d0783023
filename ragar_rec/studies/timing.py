"""Timing: seconds of a computation, seconds inside some methods, and what the machine reaches at the moment."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

SIDE = 2048
"""Rows and columns of the product by which arithmetic is measured: large enough to keep every core busy."""
NUMBERS = 2**26
"""Float32 numbers that are copied to measure memory, 256 MiB: more than any cache holds."""


def seconds(work: Callable[[], Any], repeats: int = 1) -> float:
    """Fastest of some repetitions, in seconds, to the end of what a GPU has been asked for."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        # A GPU computes on after the call has returned.
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    # Not the mean: other processes only ever add time.
    return min(taken)


def arithmetic_rate() -> float:
    """Operations a second (FLOP/s) of a large float32 product on this machine, now."""
    a, b = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    return 2 * SIDE**3 / seconds(lambda: a @ b, 5)


def memory_rate() -> float:
    """Bytes a second that are read and written by a large float32 copy on this machine, now."""
    source, target = torch.randn(NUMBERS), torch.empty(NUMBERS)
    return 2 * source.numel() * 4 / seconds(lambda: target.copy_(source), 5)


@contextmanager
def stopwatch(parts: Mapping[str, Sequence[tuple[Any, str]]]) -> Iterator[dict[str, float]]:
    """Count the seconds inside each part's methods; the methods are put back afterwards.

    Args:
        parts: (object, name of a method) pairs by the part's name.

    Yields:
        Seconds by part, which grow with every call.
    """
    inside: dict[str, float] = defaultdict(float)

    def timed(part: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                inside[part] += time.perf_counter() - start

        return call

    with ExitStack() as restored:
        for part, methods in parts.items():
            for owner, method in methods:
                own, original = method in vars(owner), getattr(owner, method)
                # On an object it hides the class's method until it is deleted; a class gets its own back.
                setattr(owner, method, timed(part, original))
                if own:
                    restored.callback(setattr, owner, method, original)
                else:
                    restored.callback(delattr, owner, method)
        yield inside
