"""Batches of one fixed number of rows, so that a picture does not depend on the other requests of its batch."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from generation.request import Generator, Request

Row = TypeVar("Row")


class FixedBatches:
    """Generates what another generator does, always in batches of exactly ``batch_size`` requests.

    How a network splits the sum over a batch, and so its last bit, depends on the number of rows. Here it is always the
    same, the last request repeated where there are fewer. So runs that divide the same requests in other ways make the
    same pictures, on one kind of machine and with one ``batch_size``.

    Args:
        generator: draws the pictures; what it computes for a request must depend on the others of a batch by their
            number alone.
        batch_size: pictures that are drawn at a time: memory against speed.

    Raises:
        ValueError: ``batch_size`` is below 1.
    """

    def __init__(self, generator: Generator, batch_size: int) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.generator, self.batch_size = generator, batch_size

    def generate(self, requests: Sequence[Request]) -> Float[Tensor, "n 3 height width"]:
        """Draw one picture a request, in [0, 1]."""
        if not requests:
            return self.generator.generate([])
        pictures = [
            self.generator.generate(padded)[: len(batch)] for batch, padded in padded_batches(requests, self.batch_size)
        ]
        return torch.cat(pictures)


def padded_batches(rows: Sequence[Row], size: int) -> Iterable[tuple[list[Row], list[Row]]]:
    """Batches of at most ``size`` rows, each as it is and with its last row repeated up to exactly ``size``."""
    for start in range(0, len(rows), size):
        batch = list(rows[start : start + size])
        yield batch, batch + batch[-1:] * (size - len(batch))
