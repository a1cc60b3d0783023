"""What is said of a ranker beside simple ones."""

import pandas as pd
import pytest

from ragar_rec.evaluation.ranker_test import Comparison


def comparison(**means: list[float]) -> Comparison:
    """Recall of four people by each ranker; MICRO is compared with the others."""
    people = ["a", "b", "c", "d"]
    values = {name: {"recall@10": pd.Series(recalls, index=people, dtype=float)} for name, recalls in means.items()}
    return Comparison("MICRO", values, {"resamples": 200, "confidence": 0.95, "seed": 0})


@pytest.mark.parametrize(
    ("micro", "ease", "words"),
    [
        (
            [0, 0.2, 0.4, 0.2],
            [0.1, 0.3, 0.5, 0.3],
            "EASE beats MICRO, with less to train: recall@10 of MICRO less that of EASE is -0.1000",
        ),
        (
            [0.1, 0.3, 0.5, 0.3],
            [0, 0.2, 0.4, 0.2],
            "MICRO beats EASE, the best of the simple rankers: recall@10 of MICRO less that of EASE is +0.1000",
        ),
        (
            [0, 1, 0, 1],
            [1, 0, 1, 0],
            "MICRO and EASE, the best of the simple rankers, cannot be told apart: recall@10 of MICRO less",
        ),
    ],
)
def test_the_best_simple_ranker_wins_loses_or_cannot_be_told_apart(
    micro: list[float], ease: list[float], words: str
) -> None:
    """Pairs that all differ by .1 make an interval without width; those of +1 and -1 one around 0."""
    assert comparison(MICRO=micro, Pop=[0, 0, 0, 0], EASE=ease).verdict("recall@10").startswith(words)


def test_a_ranker_alone_has_numbers_and_no_verdict() -> None:
    alone = comparison(MICRO=[0.5, 0.5, 0.5, 0.5])
    assert alone.table().splitlines() == [
        "on the test, 4 people:",
        "       recall@10",
        "MICRO  0.5000 [0.5000, 0.5000]",
    ]
    assert alone.verdict("recall@10") == ""
