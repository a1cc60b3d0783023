import json
import math

import pandas as pd
import pytest

from ragar_rec.evaluation.per_user import COLUMNS, OWN, read_per_user, write_per_user
from ragar_rec.evaluation.results import Results, Row, in_table_order, rows_from_per_user


def frame(cells: dict[tuple[str, str], list[list[float]]]) -> pd.DataFrame:
    """(control, metric) -> for each seed a value per user; users are called 0, 1, …"""
    records = [
        (str(user), "ragar", "candidates", control, "MICRO", seed, metric, float(value))
        for (control, metric), seeds in cells.items()
        for seed, values in enumerate(seeds)
        for user, value in enumerate(values)
    ]
    return pd.DataFrame(records, columns=pd.Index(COLUMNS))


def row(rows: tuple[Row, ...], control: str, metric: str, compared_with: str | None = None) -> Row:
    (found,) = [r for r in rows if (r.control, r.metric, r.compared_with) == (control, metric, compared_with)]
    return found


def test_a_constant_difference_has_an_interval_of_no_width():
    """own - original = 0.25 for each of four people, however they differ among themselves."""
    rows = rows_from_per_user(
        frame({("original", "ndcg@10"): [[0, 0.25, 0.5, 0.75]], (OWN, "ndcg@10"): [[0.25, 0.5, 0.75, 1.0]]}), "toy"
    )
    difference = row(rows, OWN, "ndcg@10", "original")
    assert (difference.value, difference.low, difference.high) == (0.25, 0.25, 0.25)
    value = row(rows, OWN, "ndcg@10")
    assert value.value == 0.625
    assert value.low is not None and value.high is not None and 0.25 <= value.low < 0.625 < value.high <= 1.0
    assert (value.dataset, value.users, value.seeds) == ("toy", 4, 1)


def test_seeds_are_averaged_per_person_before_anything_else():
    """Two seeds with +1 and -1: each person's mean is 0, so nothing varies between people."""
    rows = rows_from_per_user(
        frame({("original", "ndcg@10"): [[0, 0, 0], [0, 0, 0]], (OWN, "ndcg@10"): [[1, -1, 1], [-1, 1, -1]]}), "toy"
    )
    difference = row(rows, OWN, "ndcg@10", "original")
    assert (difference.value, difference.low, difference.high, difference.users, difference.seeds) == (0, 0, 0, 3, 2)


def test_delta_r_has_a_mean_and_a_median():
    rows = rows_from_per_user(frame({(OWN, "delta_r"): [[0.0, 0.0, 0.9]]}), "toy")
    assert row(rows, OWN, "delta_r").value == pytest.approx(0.3)
    assert row(rows, OWN, "delta_r_median").value == 0


def test_rows_are_the_same_again_and_from_the_file(tmp_path):
    values = [0.1, 0.7, 0.2, 0.9, 0.4]
    per_user = frame({("original", "recall@10"): [values], (OWN, "recall@10"): [values[::-1]]})
    write_per_user(per_user, tmp_path / "per_user.parquet")
    again = read_per_user(tmp_path / "per_user.parquet")
    first = rows_from_per_user(per_user, "toy")
    assert set(rows_from_per_user(again, "toy")) == set(first) == set(rows_from_per_user(per_user, "toy"))
    write_per_user(per_user.sample(frac=1, random_state=0), tmp_path / "shuffled.parquet")
    assert (tmp_path / "shuffled.parquet").read_bytes() == (tmp_path / "per_user.parquet").read_bytes()


def test_results_json_reads_back_and_is_what_the_reader_expects(tmp_path):
    one = Row("toy", "ragar", "candidates", OWN, "MICRO", "ndcg@10", 0.5, None, None, "original", 4, 1)
    path = tmp_path / "results.json"
    Results(rows=(one,), run={"command": "x", "nothing": math.nan}).write(path)
    tree = json.loads(path.read_text())
    assert set(tree) >= {"rows", "verdicts"}
    assert tree["verdicts"] == []
    assert list(tree["rows"][0]) == [
        "dataset",
        "system",
        "protocol",
        "control",
        "judge",
        "metric",
        "value",
        "low",
        "high",
        "compared_with",
        "users",
        "seeds",
    ]
    assert tree["run"]["nothing"] is None
    assert Results.read(path).rows == (one,)


def test_a_missing_or_foreign_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="ragar-rec evaluate"):
        Results.read(tmp_path / "results.json")
    (tmp_path / "results.json").write_text('{"rows": [{"dataset": "x"}]}')
    with pytest.raises(ValueError, match="no results file"):
        Results.read(tmp_path / "results.json")


def test_the_tables_begin_with_candidates_recall_and_the_own_pictures():
    """Metrics are sorted without their cut-off; the users of a cell keep their order."""
    unsorted = [
        ("reference", "recall@10", OWN),
        ("candidates", "delta_r", OWN),
        ("candidates", "recall@20", "random_item"),
        ("candidates", "recall@20", "original"),
        ("candidates", "recall@20", OWN),
    ]
    records = [
        (user, "ragar", protocol, control, "MICRO", 0, metric, 0.0)
        for protocol, metric, control in unsorted
        for user in ("b", "a")
    ]
    ordered = in_table_order(pd.DataFrame(records, columns=pd.Index(COLUMNS)))
    assert tuple(ordered.columns) == COLUMNS
    cells = list(ordered[["protocol", "metric", "control"]].itertuples(index=False, name=None))
    assert cells == [cell for cell in (unsorted[n] for n in (4, 3, 2, 1, 0)) for _ in range(2)]
    assert ordered["user"].tolist() == ["b", "a"] * 5
