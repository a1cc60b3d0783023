import numpy as np
import pytest

from recsys.knn import nearest


def _circle(degrees: list[float]) -> np.ndarray:
    angle = np.radians(degrees)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def test_nearest_on_a_circle() -> None:
    """At 0, 10, 30 and 180 degrees the nearest other is 10; 0 (10 away, not 20); 10 (20 away); 30 (150 away)."""
    assert nearest(_circle([0, 10, 30, 180]), 2).tolist() == [[0, 1], [1, 0], [2, 1], [3, 2]]


def test_equal_similarities_come_in_order_of_index() -> None:
    """From 0 degrees, 20 and -20 are equally near; from 180 as well (160 away); so are copies of one vector."""
    assert nearest(_circle([0, 20, -20, 180]), 4).tolist()[0] == [0, 1, 2, 3]
    assert nearest(_circle([90, 90, 90, 90]), 3).tolist() == [[0, 1, 2], [1, 0, 2], [2, 0, 1], [3, 0, 1]]


def test_an_item_is_its_own_neighbour_among_many_copies() -> None:
    found = nearest(np.repeat(_circle([45]), 60, axis=0), 3)
    assert found[:, 0].tolist() == list(range(60))
    assert all(len(set(row)) == 3 for row in found.tolist())


@pytest.mark.parametrize("k", [5, 0])
def test_k_outside_the_catalogue(k: int) -> None:
    with pytest.raises(ValueError, match=rf"{k} neighbours per item were asked for, but 4 items"):
        nearest(_circle([0, 1, 2, 3]), k)
