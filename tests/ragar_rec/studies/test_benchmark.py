"""Parts of a benchmark, and the JSON file of their figures."""

import json
from pathlib import Path

import pytest

from ragar_rec.studies.benchmark import Part, measure

PARTS: dict[str, Part] = {"one": lambda: {"a": 1}, "two": lambda: {"b": 2, "c": 3}}


def test_all_parts_begin_with_nothing(tmp_path: Path) -> None:
    file = tmp_path / "new" / "figures.json"
    file.parent.mkdir()
    file.write_text('{"of_another_run": 1}')
    assert measure(PARTS, file) == json.loads(file.read_text()) == {"a": 1, "b": 2, "c": 3}


@pytest.mark.parametrize(
    ("figures", "expected"), [(None, {"a": 9, "old": 8, "b": 2, "c": 3}), ("abc", {"a": 9, "b": 2, "c": 3})]
)
def test_a_part_alone_keeps_the_figures_of_the_others(
    tmp_path: Path, figures: str | None, expected: dict[str, int]
) -> None:
    file = tmp_path / "figures.json"
    file.write_text('{"a": 9, "old": 8}')
    assert measure(PARTS, file, only=["two"], figures=figures) == json.loads(file.read_text()) == expected


def test_what_is_known_is_on_disk_when_a_later_part_fails(tmp_path: Path) -> None:
    def failing() -> dict[str, int]:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        measure({**PARTS, "three": failing}, tmp_path / "figures.json")
    assert json.loads((tmp_path / "figures.json").read_text()) == {"a": 1, "b": 2, "c": 3}
