"""The matrix of rewards and judges: differences by hand, and which of them are bold."""

import pandas as pd
import pytest

from ragar_rec.studies.reward_matrix import differences, matrix_table


def frame() -> pd.DataFrame:
    """Two rewards, two judges, four people; only A's pictures are liked better, by 1 or .9, and by its own judge."""
    rows = []
    for reward in "AB":
        for judge in "AB":
            liked = reward == judge == "A"
            for person in range(4):
                rows.append((reward, judge, str(person), "own", person + liked * (0.9 if person % 2 else 1.0)))
                rows.append((reward, judge, str(person), "shuffled_user", person + 0.0))
    return pd.DataFrame(rows, columns=pd.Index(["system", "judge", "user", "control", "value"]))


def test_differences_are_paired_over_people() -> None:
    cells = differences(frame(), "shuffled_user")
    assert list(cells) == [("A", "A"), ("A", "B"), ("B", "A"), ("B", "B")]
    assert cells["A", "A"].value == pytest.approx(0.95)
    assert 0.89 < cells["A", "A"].low < cells["A", "A"].high < 1.01
    assert cells["B", "A"].value == 0


def test_a_table_marks_what_survives_the_correction() -> None:
    lines = matrix_table(differences(frame(), "shuffled_user")).splitlines()
    assert lines[0] == "| reward | A | B |"
    assert lines[2].startswith("| A | **+0.950 [")
    assert lines[3] == "| B | +0.000 [+0.000, +0.000] | +0.000 [+0.000, +0.000] |"
