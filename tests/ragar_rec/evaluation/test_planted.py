"""Planted effects: the gain that is planted, and how often it is found, by hand and by theory."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ragar_rec.evaluation.planted import RerankedLists, power_table, size_found

SECOND = 1 / np.log2(3)


def swapped(users: int) -> RerankedLists:
    """Lists of two whose order new pictures turn round; everybody has one held-out item, always the first before."""
    return RerankedLists(
        before=np.tile([1, 2], (users, 1)),
        after=np.tile([2, 1], (users, 1)),
        hits=np.ones(users, int),
        held_out=np.ones(users, int),
        positions=np.array([10**9, 0]),
    )


def test_the_ends_follow_one_order_each() -> None:
    rng = np.random.default_rng(0)
    before, gain = swapped(50).gains(1.0, 2, 20, rng)
    assert before.mean() == pytest.approx(SECOND)
    assert gain.mean() == pytest.approx(1 - SECOND)
    before, gain = swapped(50).gains(0.0, 2, 20, rng)
    assert before.mean() == pytest.approx(1)
    assert gain.mean() == pytest.approx(SECOND - 1)


def test_several_hits_are_different_items() -> None:
    lists = replace(swapped(10), hits=np.full(10, 2), held_out=np.full(10, 2))
    before, gain = lists.gains(0.3, 2, 5, np.random.default_rng(0))
    assert (before == pytest.approx(1)) and (gain == pytest.approx(0))


def test_the_planted_gain_has_its_size_and_its_power_is_that_of_the_theory() -> None:
    """A gain of d = (2 s - 1) g for everybody, g = 1 - 1 / log2 3: the variance over people is g^2 - d^2."""
    users, size = 400, 0.06
    table = power_table(swapped(users), [0.0, size, 5.0], k=2, repetitions=2000, seed=1)
    base, g = (1 + SECOND) / 2, 1 - SECOND
    assert table["gain"].iloc[1] == pytest.approx(size * base, abs=0.002)
    error = np.sqrt((g**2 - (size * base) ** 2) / users)
    expected = stats.norm.sf(1.96 - size * base / error)
    assert table["found"].iloc[1] == pytest.approx(expected, abs=0.03)
    assert table["found"].iloc[0] == pytest.approx(0.025, abs=0.012)
    assert np.isnan(table["found"].iloc[2])  # more than everybody's whole list has


def test_the_size_that_is_found_lies_between_two_rows() -> None:
    table = pd.DataFrame({"size": [0.01, 0.05, 0.1], "gain": [0, 0, 0], "found": [0.2, 0.6, 1.0]})
    assert size_found(table) == pytest.approx(0.075)
    assert size_found(table.assign(found=[0.9, 1, 1])) == 0.01
    assert size_found(table.assign(found=[0.1, 0.2, np.nan])) is None
    assert size_found(table.assign(found=np.nan)) is None


def test_where_nothing_can_be_planted() -> None:
    lists = swapped(5)
    with pytest.raises(ValueError, match="no held-out item is in anybody's list"):
        power_table(replace(lists, hits=np.zeros(5, int)), [0.1], k=2)
    with pytest.raises(ValueError, match="change nobody's order"):
        power_table(replace(lists, after=lists.before), [0.1], k=2)
