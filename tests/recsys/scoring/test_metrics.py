import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.scoring.metrics import delta_r, ndcg_at, recall_at


def test_metrics_by_hand() -> None:
    """Ranks 1, 3 and 12 of three items, k = 10: 2 of 3; (1 + 1/2) / (1 + 1/log2(3) + 1/2)."""
    ranks = np.array([1, 3, 12])
    assert recall_at(ranks, 10) == pytest.approx(2 / 3)
    assert ndcg_at(ranks, 10) == pytest.approx(1.5 / (1.5 + 1 / np.log2(3)))
    assert ndcg_at(np.array([11]), 10) == 0
    assert ndcg_at(np.arange(1, 21), 10) == pytest.approx(1)  # more items than places: the ideal has k of them


def test_delta_r_by_hand() -> None:
    """From rank 9 to 4: 5/10. From 1 to 3: -2/2."""
    assert delta_r(9, 4) == 0.5
    np.testing.assert_array_equal(delta_r(np.array([1.0, 9.0]), np.array([3.0, 9.0])), [-1.0, 0.0])


@given(st.integers(1, 500), st.integers(1, 500))
def test_delta_r_is_below_one_and_signed(original: int, generated: int) -> None:
    value = delta_r(original, generated)
    assert value < 1
    assert np.sign(value) == np.sign(original - generated)
