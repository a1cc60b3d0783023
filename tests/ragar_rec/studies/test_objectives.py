"""Means, gains and ranks of a setting's users by hand, and which rows of an earlier run still count."""

import json
from pathlib import Path

import pandas as pd
import pytest

from ragar_rec.studies.delta_r import compare
from ragar_rec.studies.objectives import summary, valid_rows


def test_ranks_gains_and_means_by_hand() -> None:
    """Four people; v_gen is first for a, second for b (ties count against it) and c, third for d."""
    table = {
        "own": [3.0, 1.0, 1.0, 0.0],
        "reference_image": [1.0, 1.0, 2.0, 1.0],
        "global": [2.0, 0.0, 0.0, 2.0],
        "untrained": [0.0, 0.0, 0.0, 0.0],
        "shuffled_user": [3.0, 1.0, 1.0, 0.0],
    }
    frame = pd.DataFrame(
        [(user, name, value) for name, values in table.items() for user, value in zip("abcd", values, strict=True)],
        columns=pd.Index(["user", "control", "value"]),
    )
    row = summary(frame)
    assert row["ranks"] == [0.25, 0.5, 0.25]
    assert row["score"]["value"] == pytest.approx(5 / 4)
    gains = {name: interval["value"] for name, interval in row["gains"].items()}
    assert gains == pytest.approx({"v_ref": 0.0, "v_glob": 1 / 4, "untrained": 5 / 4, "shuffled_user": 0.0})


def test_a_row_counts_while_its_setting_means_the_same(tmp_path: Path) -> None:
    file = tmp_path / "objectives.json"
    assert valid_rows(file, {"path": "a"}) == {}
    rows = {"path": {"under": "a", "n": 1}, "full": {"under": "b"}, "gone": {"under": "c"}, "old": {}}
    file.write_text(json.dumps({"settings": rows}))
    assert valid_rows(file, {"path": "a", "full": "other", "old": "d"}) == {"path": {"under": "a", "n": 1}}


def test_delta_r_is_compared_person_by_person() -> None:
    chosen, like_pmg = (pd.Series(values, index=pd.Index(list("abc"))) for values in ([1.0, 2.0, 6.0], [1.0, 1.0, 1.0]))
    found = compare(chosen, like_pmg)
    assert [found[name]["value"] for name in ("chosen", "like PMG", "chosen - like PMG")] == [3, 1, 2]
    assert {interval["n"] for interval in found.values()} == {3}
