"""Two dozen films, and a folder whose finished stages the scripts share."""

from pathlib import Path

import pytest

from film_world import config_file, film_folder


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The raw folder."""
    return film_folder(tmp_path_factory.mktemp("films") / "raw")


@pytest.fixture(scope="session")
def shared(films: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    """Arguments of a script for the smallest experiment, and its output folder."""
    home = tmp_path_factory.mktemp("shared")
    paths = [f"--config={config_file(home)}", f"--data={films}", f"--output={home / 'out'}"]
    return [*paths, "--generator.history_length=20"], home / "out"
