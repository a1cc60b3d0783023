"""Two dozen films and thirty people, as interactions alone and as a run that went through every stage."""

from pathlib import Path

import pytest

from film_world import TINY, film_folder
from recsys.data import ml_latest
from recsys.recbole.dataset import Dataset


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The raw folder; a test that changes it makes its own."""
    return film_folder(tmp_path_factory.mktemp("films") / "raw")


@pytest.fixture(scope="session")
def dataset(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Its interactions, split in time: of 12 a person one is for validation and one for the test."""
    folder = tmp_path_factory.mktemp("atomic")
    ml_latest.prepare(films, folder)
    keys = ("dataset", "TIME_FIELD", "load_col", "use_gpu")
    return Dataset.load({key: TINY[key] for key in keys} | {"data_path": str(folder)})
