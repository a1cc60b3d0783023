"""The world of coloured shapes, trained once."""

import pytest
import torch

from generation_world import World, build_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build_world(tmp_path_factory.mktemp("shapes"))


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)
