"""Batches that are always of one size."""

from collections.abc import Sequence

import pytest
import torch

from generation.fixed_batches import FixedBatches, padded_batches
from generation.request import Generator, Request
from generation_world import request


def test_the_last_row_fills_a_chunk() -> None:
    assert list(padded_batches([1, 2, 3, 4, 5], 3)) == [([1, 2, 3], [1, 2, 3]), ([4, 5], [4, 5, 5])]
    assert list(padded_batches([], 3)) == []


class Crowd:
    """A picture as bright as its request's seed, for batches whose size is noted."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def generate(self, requests: Sequence[Request]) -> torch.Tensor:
        self.sizes.append(len(requests))
        return torch.tensor([each.seed / 10 for each in requests]).view(-1, 1, 1, 1).expand(-1, 3, 2, 2)


def test_a_generator_sees_batches_of_one_size_and_every_request_gets_its_own_picture() -> None:
    crowd = Crowd()
    generator = FixedBatches(crowd, 3)
    pictures = generator.generate([request("a", "b", seed=n) for n in range(5)])
    assert pictures[:, 0, 0, 0].tolist() == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert crowd.sizes == [3, 3]
    assert isinstance(generator, Generator)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        FixedBatches(crowd, 0)
