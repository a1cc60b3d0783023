"""The retrieval experiment as its reader starts it."""

import json
from pathlib import Path

import pytest

from experiments import retrieval
from ragar_rec.studies.retrieval import SETTINGS


def test_the_table_is_what_was_written(shared: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    arguments, output = shared
    retrieval.main(arguments)
    content = json.loads((output / "retrieval.json").read_text())
    assert tuple(content["settings"]) == tuple(SETTINGS)
    assert content["run"]["config"]["generator"]["history_length"] == 20
    printed = capsys.readouterr().out
    for name, groups in content["settings"].items():
        assert {group: row["people"] for group, row in groups.items()} == {"choosing": 24, "test": 6}
        assert f"| {name} | {groups['choosing']['largest weight']:.2f} | " in printed
