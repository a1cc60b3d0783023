"""The straightforward form computes what the ranker computes."""

from pathlib import Path

import torch

from ragar_rec.studies.dense_micro import DENSE_MICRO, DenseMICRO
from recsys.recbole.dataset import Dataset
from recsys.recbole.keys import with_ranker
from worlds import checkerboard


def test_the_dense_form_has_the_losses_and_gradients_of_the_ranker(tmp_path: Path) -> None:
    """On the first batch of an epoch (the graph carries gradient) and on the second."""
    world = checkerboard(tmp_path / "world")
    settings = {"model": "MICRO", "features": {"image": str(world.image)}, "knn_k": 5, "anchors": "all"}
    config = {**world.config, **settings, "temperature": 0.3}
    batch = {"user_id": [2, 3, 2], "item_id": [3, 7, 80], "neg_item_id": [9, 3, 85]}
    batch = {name: torch.tensor(ids) for name, ids in batch.items()}
    found = []
    for name in ("MICRO", DENSE_MICRO):
        ranker = Dataset.load(with_ranker(config, name)).new_ranker().train()
        assert isinstance(ranker, DenseMICRO) == (name == DENSE_MICRO)
        twice = [torch.stack(ranker.calculate_loss(batch)) for _ in range(2)]
        torch.stack(twice).sum().backward()
        found.append([*twice, *(parameter.grad for parameter in ranker.parameters())])
    for ours, dense in zip(*found, strict=True):
        torch.testing.assert_close(ours, dense, atol=1e-6, rtol=1e-4)
