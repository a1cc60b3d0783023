import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.scoring.statistics import Interval, holm, interval, paired_difference, per_user_mean, smallest_visible_gain

COINS = [0.0, 1.0] * 50


def test_the_interval_of_a_hundred_coins():
    """The bootstrap mean is Binomial(100, 1/2) / 100, whose 2.5 % and 97.5 % quantiles are 0.40 and 0.60."""
    actual = interval(COINS)
    assert (actual.value, actual.n) == (0.5, 100)
    assert actual.low == pytest.approx(0.40, abs=0.01)
    assert actual.high == pytest.approx(0.60, abs=0.01)
    assert actual == interval(COINS)
    fine = [value + 0.001 * n for n, value in enumerate(COINS)]
    assert interval(fine) != interval(fine, seed=1)


def test_less_confidence_is_narrower():
    """Of the same binomial, the 25 % and 75 % quantiles are 0.47 and 0.53."""
    actual = interval(COINS, confidence=0.5)
    assert (actual.low, actual.high) == pytest.approx((0.47, 0.53), abs=0.01)


def test_two_people_are_drawn_as_00_01_10_11():
    """Means 0, 1/2, 1 with weights 1/4, 1/2, 1/4: the interval is all of it; their variance is 1/8."""
    actual = interval([0.0, 1.0])
    assert actual == Interval(0.5, 0.0, 1.0, 2, actual.error)
    assert actual.error == pytest.approx(np.sqrt(1 / 8), abs=0.01)


def test_the_variances_of_users_and_training_seeds_are_added():
    """Values a_u + b_s: the variance of the mean is var(a) / users + var(b) / seeds, var(b) with n - 1.

    Of nearly all of it three seeds are the source: a t with two degrees of freedom, 4.303 errors at either side.
    """
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(400, 1)), np.array([[-0.3, 0.0, 0.3]])
    actual = interval(a + b, resamples=4000)
    assert actual.value == pytest.approx(a.mean())
    assert actual.error == pytest.approx(np.sqrt(a.var() / 400 + 0.09 / 3), rel=0.01)
    assert actual.freedom == pytest.approx(2 * (1 + a.var() / 400 / 0.03) ** 2, rel=0.02)
    assert actual.low == pytest.approx(actual.value - 4.303 * actual.error, rel=0.15)
    assert actual.n == 400


def test_three_trainings_with_nothing_in_common_are_covered_as_often_as_promised():
    """Means of 0, which differ between trainings more than between people: 95 % of the intervals hold 0."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(200):
        values = rng.normal(size=(50, 1)) + rng.normal(size=(1, 3)) + rng.normal(size=(50, 3))
        found = interval(values, resamples=200)
        held += found.low <= 0 <= found.high
    assert held >= 184  # a binomial of .95 is below with a probability of .02


def test_seeds_that_agree_leave_the_interval_of_the_people():
    people = np.random.default_rng(1).normal(size=300)
    alone, crossed = interval(people), interval(np.tile(people[:, None], 3))
    assert (crossed.low, crossed.high) == pytest.approx((alone.low, alone.high), abs=0.02)


def test_the_p_value_is_that_of_a_normal_estimate():
    assert Interval(1.959964, 0, 4, 9, error=1.0).p == pytest.approx(0.05)
    assert Interval(-1.959964, -4, 0, 9, error=1.0).p == pytest.approx(0.05)
    assert Interval(0.0, 0.0, 0.0, 9).p == 1.0
    assert Interval(2.0, 2.0, 2.0, 9).p == 0.0  # everybody gains the same
    assert Interval(2.0, 2.0, 2.0, 1).p == 1.0  # a single person says nothing of others
    assert Interval(4.302653, 0, 9, 9, error=1.0, freedom=2).p == pytest.approx(0.05)


def test_holm_by_hand():
    """Of 4, in ascending order: .01 <= .05 / 4, .015 <= .05 / 3, .03 > .05 / 2, so .04 is not looked at."""
    assert holm([0.04, 0.01, 0.03, 0.015]) == [False, True, False, True]
    assert holm([]) == []
    assert holm([0.05]) == [True]


def test_one_person_or_equal_values_have_no_width():
    assert interval([3.0]) == Interval(3.0, 3.0, 3.0, 1)
    assert interval([-2.0] * 7) == Interval(-2.0, -2.0, -2.0, 7)


def test_the_median_is_not_moved_by_one_giant():
    actual = interval([1.0, 2.0, 3.0, 4.0, 1000.0], statistic=np.median)
    assert (actual.value, actual.n) == (3.0, 5)


def test_several_values_of_a_person_are_averaged_first():
    """a has 0 and 2, b has 5."""
    assert per_user_mean([0, 2, 5], ["a", "a", "b"]).to_dict() == {"a": 1.0, "b": 5.0}


def test_a_value_that_is_no_number_names_its_person():
    with pytest.raises(ValueError, match=r"user 'b' is nan"):
        per_user_mean([1.0, float("nan")], ["a", "b"])
    with pytest.raises(ValueError, match="2 values for 1 users"):
        per_user_mean([1.0, 2.0], ["a"])
    with pytest.raises(ValueError, match="needs finite numbers, got 0"):
        interval([])
    with pytest.raises(ValueError, match="got 2 of which 1 are"):
        interval([1.0, float("inf")])


def test_a_paired_difference_is_by_person_whatever_the_order():
    a = pd.Series({"x": 1.5, "y": 10.5, "z": 100.5})
    b = pd.Series({"z": 100.0, "x": 1.0, "y": 10.0})
    assert paired_difference(a, b) == Interval(0.5, 0.5, 0.5, 3)
    assert paired_difference(a, b, statistic=np.median).value == 0.5


@pytest.mark.parametrize("index", [["x", "y"], ["x", "y", "w"], ["x", "y", "y"]])
def test_a_paired_difference_needs_the_same_people(index):
    a = pd.Series([1.0, 2.0, 3.0], index=pd.Index(["x", "y", "z"]))
    with pytest.raises(ValueError, match="the same people once on both sides, got 3 and"):
        paired_difference(a, pd.Series([0.0] * len(index), index=pd.Index(index)))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=2, max_size=12))
def test_an_interval_of_means_holds_between_the_extremes(values):
    actual = interval(values, resamples=100)
    assert min(values) - 1e-9 <= actual.low <= actual.high <= max(values) + 1e-9


def test_the_smallest_visible_gain_of_known_differences() -> None:
    """(1.95996 + .84162) * s / sqrt(n) with s = 2 and n = 4 (differences 1, 1, 1 and -3: s^2 = 12 / 3): 2.80158."""
    assert smallest_visible_gain([1, 1, 1, -3]) == pytest.approx(2.80158, abs=1e-4)
    assert smallest_visible_gain([0.5, 0.5, 0.5]) == 0
    with pytest.raises(ValueError, match="at least two differences, got 1"):
        smallest_visible_gain([1])


def test_the_smallest_visible_gain_is_seen_four_times_of_five() -> None:
    """2,000 experiments of 100 people with that true gain: the t interval excludes 0 in .80, here within .03."""
    rng = np.random.default_rng(0)
    gain = 2.80158 / 10
    draws = rng.normal(gain, 1, (2000, 100))
    seen = draws.mean(1) - 1.984 * draws.std(1, ddof=1) / 10 > 0
    assert seen.mean() == pytest.approx(0.8, abs=0.03)
