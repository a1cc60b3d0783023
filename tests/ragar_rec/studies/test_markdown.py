"""Tables and intervals as text."""

from ragar_rec.studies.markdown import interval_text, markdown_table


def test_a_table_has_a_line_per_row() -> None:
    assert markdown_table(("a", "b"), [("1", "2"), ("3", "4")]).splitlines() == [
        "| a | b |",
        "|---|---|",
        "| 1 | 2 |",
        "| 3 | 4 |",
    ]


def test_an_interval_has_three_numbers() -> None:
    interval = {"value": 0.12344, "low": -0.5, "high": 1, "n": 7}
    assert interval_text(interval) == "+0.1234 [-0.5000, +1.0000]"
    assert interval_text(interval, ".2f") == "0.12 [-0.50, 1.00]"
