"""Gains, personal parts and shares of two people by hand."""

import numpy as np
import pandas as pd
import pytest

from ragar_rec.evaluation.verdict import Rule, Verdict
from ragar_rec.studies.planted_shop_tables import gains, gains_table, share_text, verdicts_table

FRAME = pd.DataFrame(
    [
        (0, "a", "photos", "own", 0.10, 1.0, 0.0, 0.0),
        (0, "b", "photos", "own", 0.20, 2.0, 0.0, 0.0),
        (0, "a", "RAGAR", "own", 0.13, 1.3, 0.5, 1.0),
        (0, "b", "RAGAR", "own", 0.21, 2.1, 0.1, 0.2),
        (0, "b", "RAGAR", "stranger", 0.20, 2.0, -0.2, -0.4),
        (0, "a", "RAGAR", "stranger", 0.11, 1.0, -0.1, -0.2),
        (0, "a", "best", "own", 0.15, 1.5, 0.9, 1.8),
        (0, "b", "best", "own", 0.25, 2.5, 0.7, 1.4),
        (0, "a", "best", "stranger", 0.10, 1.0, 0.0, 0.0),
        (0, "b", "best", "stranger", 0.20, 2.0, 0.0, 0.0),
    ],
    columns=pd.Index(["seed", "person", "system", "owner", "ndcg", "clicks", "liking", "score"]),
)
"""RAGAR gains .03 and .01, of which .02 and .01 are personal; the best pictures .05 each."""


def test_gains_are_paired_by_person() -> None:
    found = gains(FRAME)
    assert list(found) == ["RAGAR", "best"]
    assert found["RAGAR"]["ndcg"].tolist() == pytest.approx([0.03, 0.01])
    assert found["RAGAR"]["personal"].tolist() == pytest.approx([0.02, 0.01])
    assert found["RAGAR"]["clicks"].tolist() == pytest.approx([0.3, 0.1])
    assert found["best"]["personal"].tolist() == pytest.approx([0.05, 0.05])


def test_the_table_by_hand() -> None:
    """The share is .04 / .10 = 40 %; of one person alone it is .03 / .05 or .01 / .05."""
    lines = gains_table(FRAME, "best").splitlines()
    assert lines[2] == "| photos: NDCG 0.1500 |  |  |  | 1.500 |  |  |"
    assert lines[3].startswith("| RAGAR | +0.0200 [+0.0100, +0.0300] | 40% [20%, 60%] | +0.0150 [+0.0100, +0.0200] |")
    assert lines[4].startswith("| best | +0.0500 [+0.0500, +0.0500] |  | +0.0500 ")
    assert share_text(np.array([0.03]), np.array([0.05])) == "60%"


def test_verdicts_stand_side_by_side() -> None:
    def said(rule: Rule) -> Verdict:
        return Verdict("RAGAR", rule, "", {})

    table = verdicts_table(
        [
            {"live test": said("personal gain, confirmed"), "log": said("no gain")},
            {"live test": said("inconclusive"), "log": said("harm")},
        ]
    )
    assert table.splitlines()[0] == "| seed | live test | log |"
    assert table.splitlines()[2:] == ["| 0 | personal gain, confirmed | no gain |", "| 1 | inconclusive | harm |"]
