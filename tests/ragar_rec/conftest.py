"""Two dozen films and thirty people, as interactions alone and as a run that went through every stage."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from film_world import TINY, film_folder
from ragar_rec.report import report
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


@pytest.fixture(scope="session", autouse=True)
def _equal_curves_are_drawn_once() -> Iterator[None]:
    """Reports of runs that differ in one key show the same curves, which are a fifth of what a report costs."""
    drawn: dict[str, str] = {}
    draw = report.curves_svg

    def remembered(curves: Sequence[Any], **named: Any) -> str:
        key = repr((curves, named))
        if key not in drawn:
            drawn[key] = draw(curves, **named)
        return drawn[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "curves_svg", remembered)
        yield
