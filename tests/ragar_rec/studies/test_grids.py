"""Points of a grid, and the ends of its values."""

from ragar_rec.studies.grids import GRIDS, REDUCED, ROWS, at_the_ends, points


def test_points_are_all_combinations_the_last_key_first() -> None:
    assert points({"a": [1, 2], "b": [3, 4]}) == [
        {"a": 1, "b": 3},
        {"a": 1, "b": 4},
        {"a": 2, "b": 3},
        {"a": 2, "b": 4},
    ]
    assert points({}) == [{}]


def test_every_trained_ranker_has_as_many_points() -> None:
    assert {name: len(points(grid)) for name, grid in GRIDS.items()} == dict.fromkeys(GRIDS, 4) | {"Pop": 1}
    assert len(ROWS) == len(GRIDS) + len(REDUCED)


def test_nothing_lies_below_zero_and_a_middle_value_is_no_end() -> None:
    tried = [{"settings": {"k": k, "weight_decay": w}} for k in (20, 50, 100) for w in (0.0, 1e-5)]
    assert at_the_ends({"k": 50, "weight_decay": 0.0}, tried) == []
    assert at_the_ends({"k": 20, "weight_decay": 1e-5}, tried) == [
        "k 20 is an end of the grid",
        "weight_decay 1e-05 is an end of the grid",
    ]
