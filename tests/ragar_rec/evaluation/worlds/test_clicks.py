"""Clicks on three items of weight 1, 2 and 3: everything can be counted by hand."""

import numpy as np
import pytest

from ragar_rec.evaluation.worlds.clicks import click_probabilities, draw_clicks, inclusion
from ragar_rec.evaluation.worlds.truth import expected_ndcg
from recsys.scoring.metrics import ndcg_at

UTILITY = np.log([[1.0, 2, 3]])


def test_probabilities_are_those_of_a_multinomial_logit() -> None:
    np.testing.assert_allclose(click_probabilities(UTILITY + 5), [[1 / 6, 2 / 6, 3 / 6]])
    np.testing.assert_allclose(click_probabilities(np.array([[0.0, -np.inf, 0.0]])), [[0.5, 0, 0.5]])


def test_clicks_are_drawn_without_replacement() -> None:
    """First clicks come as 1 : 2 : 3; after item 2, items 0 and 1 as 1 : 2."""
    drawn = draw_clicks(np.tile(UTILITY, (60_000, 1)), 2, np.random.default_rng(0))
    np.testing.assert_allclose(np.bincount(drawn[:, 0]) / len(drawn), [1 / 6, 2 / 6, 3 / 6], atol=0.006)
    after = drawn[drawn[:, 0] == 2, 1]
    np.testing.assert_allclose(np.bincount(after) / len(after), [1 / 3, 2 / 3], atol=0.01)
    assert (drawn[:, 0] != drawn[:, 1]).all()


def test_the_next_click_is_known_exactly_and_two_of_three_by_hand() -> None:
    """An item is not among two clicks if it comes last. Item 0 does with 2/6 * 3/4 + 3/6 * 2/3 = .5833, item 1 with
    1/6 * 3/5 + 3/6 * 1/3 = .2667, item 2 with 1/6 * 2/5 + 2/6 * 1/4 = .15.
    """
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(inclusion(UTILITY, 1, rng), [[1 / 6, 2 / 6, 3 / 6]])
    found = inclusion(np.tile(UTILITY, (1000, 1)), 2, rng, draws=100)
    np.testing.assert_allclose(found.mean(0), [0.4167, 0.7333, 0.85], atol=0.003)
    np.testing.assert_allclose(found.sum(1), 2)


def test_the_truth_of_three_items_by_hand() -> None:
    """One click, lists of two. (2, 1): 1/2 + 1/3 / log2 3 = .7103; (1, 2): 1/3 + 1/2 / log2 3 = .6488.

    With two clicks the best list has 1 + 1 / log2 3 = 1.6309: (2, 1) gets (.85 + .7333 / log2 3) / 1.6309 = .8049.
    """
    one = inclusion(np.tile(UTILITY, (2, 1)), 1, np.random.default_rng(0))
    np.testing.assert_allclose(expected_ndcg(np.array([[2, 1], [1, 2]]), one, 1), [0.7103, 0.6488], atol=1e-4)
    two = np.array([[0.4167, 0.7333, 0.85]])
    np.testing.assert_allclose(expected_ndcg(np.array([[2, 1]]), two, 2), [0.8049], atol=1e-4)


@pytest.mark.parametrize("n", [1, 4])
def test_a_log_estimates_the_truth_without_bias(n: int) -> None:
    """The mean NDCG@5 of 4,000 people with the same utilities of 12 items, against its expectation."""
    rng = np.random.default_rng(n)
    utility, list_ = np.tile(rng.normal(size=(1, 12)), (4000, 1)), rng.permutation(12)[:5]
    rank = np.full(12, 99)
    rank[list_] = np.arange(1, 6)
    observed = np.array([ndcg_at(rank[clicks], 5) for clicks in draw_clicks(utility, n, rng)])
    expected = expected_ndcg(np.tile(list_, (4000, 1)), inclusion(utility, n, rng), n).mean()
    assert abs(observed.mean() - expected) < 3 * observed.std() / np.sqrt(4000)
