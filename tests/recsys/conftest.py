"""The checkerboard world and a MICRO trained on it, shared by the tests of the rankers."""

from pathlib import Path

import pytest
import torch

from recsys.recbole.training import TrainedRanker, train_ranker
from worlds import Checkerboard, checkerboard


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Checkerboard:
    return checkerboard(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def micro_config(world: Checkerboard) -> dict:
    settings = {"model": "MICRO", "features": {"image": str(world.image)}, "knn_k": 5, "lr_decay": None}
    return {**world.config, **settings}


@pytest.fixture(scope="session")
def trained_micro(micro_config: dict, tmp_path_factory: pytest.TempPathFactory) -> TrainedRanker:
    return train_ranker(micro_config, tmp_path_factory.mktemp("micro"), progress=False)


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of a test that looks for litter."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
