"""The benchmark's straightforward form computes what the ranker computes, and its sums are right."""

import pytest
import torch

from experiments.bench_ranker import exponent
from recsys.recbole import Dataset, with_ranker
from worlds import Checkerboard, checkerboard


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Checkerboard:
    return checkerboard(tmp_path_factory.mktemp("world"))


def test_the_dense_form_has_the_losses_and_gradients_of_the_ranker(world: Checkerboard) -> None:
    """On the first batch of an epoch (the graph carries gradient) and on the second."""
    settings = {"model": "MICRO", "features": {"image": str(world.image)}, "knn_k": 5, "anchors": "all"}
    config = {**world.config, **settings, "temperature": 0.3}
    batch = {"user_id": [2, 3, 2], "item_id": [3, 7, 80], "neg_item_id": [9, 3, 85]}
    batch = {name: torch.tensor(ids) for name, ids in batch.items()}
    found = []
    for name in ("MICRO", "experiments.bench_ranker:DenseMICRO"):
        ranker = Dataset.load(with_ranker(config, name)).new_ranker().train()
        twice = [torch.stack(ranker.calculate_loss(batch)) for _ in range(2)]
        torch.stack(twice).sum().backward()
        found.append([*twice, *(parameter.grad for parameter in ranker.parameters())])
    for ours, dense in zip(*found, strict=True):
        torch.testing.assert_close(ours, dense, atol=1e-6, rtol=1e-4)


def test_exponent_by_hand() -> None:
    """Ten times the items take twenty times as long: log 20 / log 10. What is below 10,000 does not count."""
    sizes = [(1_000, 9.0), (10_000, 1.0), (100_000, 20.0), (1_000_000, 400.0)]
    rows = [{"items": items, "graph": seconds / 2, "steps": seconds / 2} for items, seconds in sizes]
    assert exponent(rows) == pytest.approx(1.30103, abs=1e-5)
