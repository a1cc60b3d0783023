"""The world of coloured shapes, trained once."""

from collections.abc import Iterator

import pytest
import torch

from generation_world import World, build_world


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors of a few hundred numbers: a second thread only waits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build_world(tmp_path_factory.mktemp("shapes"))


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)
