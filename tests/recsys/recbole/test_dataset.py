import logging
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from recsys.features import FeatureTable
from recsys.recbole.dataset import Dataset
from worlds import Checkerboard


def test_a_cold_start_split_withholds_items_from_training(world: Checkerboard) -> None:
    """100 items have interactions: 20 are withheld, 10 for each part, and each of their 720 clicks is somewhere."""
    config = {**world.config, "eval_args": {"split": {"COLD": 0.2}}}
    dataset = Dataset.load(config)
    train, valid, test = (getattr(dataset.interactions, part) for part in ("train", "valid", "test"))
    assert len(set(valid[1])) == len(set(test[1])) == 10
    assert not set(train[1]) & (set(valid[1]) | set(test[1])) and not set(valid[1]) & set(test[1])
    assert len(train[0]) + len(valid[0]) + len(test[0]) == 60 * 12
    assert Dataset.load({**config, "seed": 3}).digest() == dataset.digest()
    assert Dataset.load({**config, "split_seed": 3}).digest() != dataset.digest()


def test_cold_items_have_content_edges_and_no_clicks(micro_config: dict) -> None:
    dataset = Dataset.load({**micro_config, "eval_args": {"split": {"COLD": 0.2}}})
    ranker = dataset.new_ranker()
    cold = torch.from_numpy(np.unique(dataset.interactions.test[1]))
    row, column, weight = ranker.raw_graphs["image"].edges()
    others = torch.isin(row, cold) & (row != column) & (weight != 0)
    assert torch.equal(row[others].unique(), cold)
    interactions = ranker.interactions.matrix.to_dense()[dataset.n_users :, : dataset.n_users]
    assert interactions[cold].count_nonzero() == 0
    assert interactions.sum(1)[torch.from_numpy(np.unique(dataset.interactions.train[1]))].min() > 0


def test_a_missing_row_is_an_error_if_configured(micro_config: dict) -> None:
    """n1 has no image."""
    with pytest.raises(ValueError, match=r"1 of 102 items have no image features in .*: 'n1'; add their rows"):
        Dataset.load({**micro_config, "missing_features": "error"}).new_ranker()


def test_features_as_a_matrix_beside_its_tokens(micro_config: dict, world: Checkerboard, tmp_path: Path) -> None:
    table = FeatureTable.read(world.image)
    np.save(tmp_path / "image.npy", table.values[::-1])
    (tmp_path / "image.ids.txt").write_text("\n".join(table.ids[::-1]))
    from_safetensors, from_npy = (
        Dataset.load({**micro_config, "features": {"image": str(file)}}).new_ranker().features("image")
        for file in (world.image, tmp_path / "image.npy")
    )
    assert torch.equal(from_safetensors, from_npy)


def test_history_is_oldest_first_and_training_only(world: Checkerboard) -> None:
    dataset = Dataset.load(world.config)
    lines = Path(world.config["data_path"], "checkerboard/checkerboard.inter").read_text().splitlines()
    clicks = [line.split("\t")[1] for line in lines if line.startswith("u5\t")]
    assert [dataset.item_tokens[i] for i in dataset.history(dataset.user_id("u5"))] == clicks[:10]


def test_nothing_global_changes(
    world: Checkerboard, empty_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "argv", ["prog", "--embedding_size=3", "positional"])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    numpy, state = str(np.random.get_state(legacy=False)), torch.get_rng_state()  # noqa: NPY002
    config = {**world.config, "checkpoint_dir": "saved"}
    before = str(config)
    with caplog.at_level(logging.WARNING):
        dataset = Dataset.load(config)
        dataset.new_ranker()
    assert dataset.config["embedding_size"] == 16
    assert str(config) == before
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    assert str(np.random.get_state(legacy=False)) == numpy  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), state)
    assert "float" not in vars(np)
    assert not caplog.records
    assert not list(empty_folder.iterdir())
