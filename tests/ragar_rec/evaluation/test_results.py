import json
import math

import pandas as pd
import pytest

from ragar_rec.evaluation.per_user import COLUMNS, OWN, read_per_user, write_per_user
from ragar_rec.evaluation.results import Results, Row, in_table_order, rows_from_per_user


def frame(cells: dict[tuple[str, str], list[list[float]]]) -> pd.DataFrame:
    """(control, metric) -> for each seed a value per user; users are called 0, 1, …"""
    records = [
        (str(user), "ragar", "candidates", control, "MICRO", 0, seed, metric, float(value))
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
        "training_seeds",
        "spread",
        "p",
        "significant",
        "visible",
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
        (user, "ragar", protocol, control, "MICRO", 0, 0, metric, 0.0)
        for protocol, metric, control in unsorted
        for user in ("b", "a")
    ]
    ordered = in_table_order(pd.DataFrame(records, columns=pd.Index(COLUMNS)))
    assert tuple(ordered.columns) == COLUMNS
    cells = list(ordered[["protocol", "metric", "control"]].itertuples(index=False, name=None))
    assert cells == [cell for cell in (unsorted[n] for n in (4, 3, 2, 1, 0)) for _ in range(2)]
    assert ordered["user"].tolist() == ["b", "a"] * 5


def trained(
    cells: dict[tuple[str, str, int], list[float]], judge: str = "MICRO", system: str = "ragar"
) -> pd.DataFrame:
    """(protocol, control, training seed) -> NDCG@10 of each user."""
    records = [
        (str(user), system, protocol, control, judge, training_seed, 0, "ndcg@10", value)
        for (protocol, control, training_seed), values in cells.items()
        for user, value in enumerate(values)
    ]
    return pd.DataFrame(records, columns=pd.Index(COLUMNS))


def test_the_spread_of_trainings_is_shown_and_widens_the_interval():
    """Own less original is .1 for everybody after one training and .3 after the other: error .1, t of one freedom."""
    cells = {("candidates", "original", seed): [0.0, 0.5, 0.2] for seed in (0, 1)}
    cells |= {("candidates", OWN, 0): [0.1, 0.6, 0.3], ("candidates", OWN, 1): [0.3, 0.8, 0.5]}
    difference = row(rows_from_per_user(trained(cells), "toy"), OWN, "ndcg@10", "original")
    assert (difference.training_seeds, difference.users) == (2, 3)
    assert difference.value == pytest.approx(0.2)
    assert (difference.low, difference.high) == pytest.approx((0.2 - 1.2706, 0.2 + 1.2706), abs=1e-4)
    assert difference.spread == pytest.approx(math.sqrt(0.02))  # of .1 and .3, with n - 1


def test_training_seeds_on_different_people_are_refused():
    cells = {("candidates", "original", 0): [0.0, 0.5, 0.2], ("candidates", "original", 1): [0.0, 0.5]}
    with pytest.raises(ValueError, match=r"training seeds \[0, 1\] were judged on different people under original"):
        rows_from_per_user(trained(cells), "toy")


def test_systems_on_different_people_are_refused():
    one, two = (trained({("candidates", "original", 0): [0.0] * n}, system=f"s{n}") for n in (3, 2))
    with pytest.raises(
        ValueError, match=r"s2 and s3 were judged on different people under candidates by MICRO: 1 of 3"
    ):
        rows_from_per_user(pd.concat([one, two]), "toy")


def test_primary_differences_stand_alone_and_the_others_are_corrected_together():
    """Two equal gains: the primary one keeps its star, the same under `reference` is one of three and loses it."""
    gain = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.1, 0.1, 0.2, 0.2]
    cells = {(protocol, OWN, 0): gain for protocol in ("candidates", "reference")}
    nothing = [
        (protocol, control) for protocol in ("candidates", "reference") for control in ("original", "random_item")
    ]
    cells |= {(protocol, control, 0): [0.0] * 10 for protocol, control in nothing}
    found = rows_from_per_user(trained(cells), "toy")
    by_protocol = {r.protocol: r for r in found if (r.control, r.compared_with) == (OWN, "original")}
    assert by_protocol["candidates"].significant
    p = by_protocol["reference"].p
    assert p is not None and 0.05 / 3 < p < 0.05
    assert by_protocol["reference"].significant is False
    assert by_protocol["candidates"].visible == pytest.approx(2.8016 * 0.06 / math.sqrt(7), rel=0.3)
