"""The naming experiment as its reader starts it."""

import json
from pathlib import Path

import pandas as pd
import pytest

from experiments import naming


def test_what_is_printed_was_written(shared: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    arguments, output = shared
    assert naming.main([*arguments, "--strangers=2", "--n=3", "--draw-seed=1"]) == 0
    found = json.loads((output / "naming" / "naming.json").read_text())
    assert found["chance"] == pytest.approx(1 / 3)
    assert found["run"]["config"]["generator"]["history_length"] == 20
    assert len(pd.read_csv(output / "naming" / "key.csv")) == 3
    assert f"named by the nearest mean colour: {found['named']['value']:.2f} [" in capsys.readouterr().out


def test_too_few_people_are_said_in_a_line(shared: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert naming.main([*shared[0], "--strangers=9"]) == 2
    assert capsys.readouterr().err.startswith("naming: nobody of 6 people kept from training has")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("--strangers=26", "strangers 26 must be 1 to 25"),
        ("--strangers=0", "0 must be"),
        ("--rows=0", "rows 0 must be"),
    ],
)
def test_sheets_that_cannot_be_are_said_in_a_line(
    shared: tuple[list[str], Path], capsys: pytest.CaptureFixture[str], setting: str, words: str
) -> None:
    assert naming.main([*shared[0], setting]) == 2
    assert words in capsys.readouterr().err
