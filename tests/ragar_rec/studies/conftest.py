"""An experiment on two dozen films, whose stages the tests of this folder build once and share."""

from pathlib import Path

import pytest

from film_world import config_file, open_run
from ragar_rec.experiment import Experiment


@pytest.fixture(scope="session")
def run(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """The smallest experiment; its stages are built by the first test that asks for them."""
    home = tmp_path_factory.mktemp("studies")
    return open_run(config_file(home, generator__history_length=20), films, home / "out")
