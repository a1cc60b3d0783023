import logging
from types import SimpleNamespace
from typing import Any

import faiss
import jaxtyping
import numpy as np
import pytest

from recsys.graphs import neighbours as knn
from recsys.graphs.neighbours import Search, nearest, recall


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
    neighbours = nearest(np.repeat(_circle([45]), 60, axis=0), 3)
    assert neighbours[:, 0].tolist() == list(range(60))
    assert all(len(set(row)) == 3 for row in neighbours.tolist())


@pytest.mark.parametrize("k", [5, 0])
def test_k_outside_the_catalogue(k: int) -> None:
    with pytest.raises(ValueError, match=rf"{k} neighbours per item were asked for, but 4 items"):
        nearest(_circle([0, 1, 2, 3]), k)


def _clusters(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(20, 16))[rng.integers(20, size=n)] + 0.3 * rng.normal(size=(n, 16))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def test_an_inverted_file_above_the_stated_size_finds_most_neighbours(caplog: pytest.LogCaptureFixture) -> None:
    vectors = _clusters(3000)
    with caplog.at_level(logging.INFO):
        neighbours = nearest(vectors, 10, Search(exact_items=2999, n_probe=2))
    assert (neighbours[:, 0] == np.arange(3000)).all()
    share = recall(vectors, neighbours)
    assert 0.5 < share < 1
    assert f"3000 items, 219 cells, 2 probed: {100 * share:.1f} %" in caplog.text


@pytest.mark.parametrize("value", [0, -1, 2.0, True, "8", None])
def test_impossible_n_probe(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # users have no checks of annotations
    with pytest.raises(ValueError, match=f"knn_n_probe is {value!r}, but must be a whole number from 1 on"):
        Search(n_probe=value)


@pytest.mark.parametrize("value", [0, -1, 2.0, True, "all"])
def test_impossible_n_cells(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=f"knn_n_cells is {value!r}, but must be a whole number from 1 on"):
        Search(n_cells=value)


def test_cells_are_as_many_as_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    """By default 4 sqrt(3000) = 219.09. In one cell, or with all of ten probed, the search is exact; one of ten is not.
    There is no more than a cell an item.
    """
    assert [Search().cells(3000), Search(n_cells=10).cells(3000), Search(n_cells=10).cells(4)] == [219, 10, 4]
    vectors, shares = _clusters(3000), []
    for search in (Search(0, 1, 1), Search(0, 10, 10), Search(0, 1, 10)):
        with caplog.at_level(logging.INFO):
            shares.append(recall(vectors, nearest(vectors, 10, search)))
    assert shares[:2] == [1, 1]
    assert 0.5 < shares[2] < 1
    assert f"3000 items, 10 cells, 1 probed: {100 * shares[2]:.1f} %" in caplog.text
    assert nearest(vectors[:4], 2, Search(0, 4, 10)).tolist() == nearest(vectors[:4], 2).tolist()


def test_a_gpus_memory_is_taken_once_for_all_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """faiss-gpu as far as it is used, on the CPU: one search among the 63 means, one in each cell that has items, one
    for what is missing, one that measures the recall; the same neighbours as without a GPU.
    """
    vectors, search = _clusters(250), Search(exact_items=0, n_probe=2)
    expected = nearest(vectors, 5, search)
    taken, used = [], []

    def resources() -> int:
        taken.append(len(taken))
        return taken[-1]

    def searched(memory: int, *given: Any, **named: Any) -> Any:
        used.append(memory)
        return faiss.knn(*given, **named)

    def means(*given: Any, gpu: bool, **named: Any) -> Any:
        assert gpu
        return faiss.Kmeans(*given, **named)

    gpu = SimpleNamespace(
        get_num_gpus=lambda: 1,
        StandardGpuResources=resources,
        knn_gpu=searched,
        Kmeans=means,
        METRIC_INNER_PRODUCT=faiss.METRIC_INNER_PRODUCT,
    )
    monkeypatch.setattr(knn, "faiss", gpu)
    knn._gpu_memory.cache_clear()
    try:
        assert nearest(vectors, 5, search).tolist() == expected.tolist()
    finally:
        knn._gpu_memory.cache_clear()
    assert taken == [0]
    assert len(used) > 50
    assert set(used) == {0}


@pytest.mark.parametrize("value", [-1, 5e4, False, "all"])
def test_impossible_exact_items(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=f"knn_exact_items is {value!r}, but must be a whole number from 0 on"):
        Search(exact_items=value)


def test_every_list_probed_is_exact() -> None:
    vectors = _clusters(400)
    assert recall(vectors, nearest(vectors, 5, Search(exact_items=0, n_probe=80))) == 1


def test_recall_by_hand() -> None:
    """At 0, 10, 30, 180 degrees with k = 3 the others are {10, 30}, {0, 30}, {10, 0}, {30, 10}: one of two each."""
    wrong = np.array([[0, 1, 3], [1, 0, 3], [2, 1, 3], [3, 2, 0]])
    assert recall(_circle([0, 10, 30, 180]), wrong) == 0.5


def test_lists_with_too_few_items_leave_no_gap() -> None:
    """One list of 4 sqrt(40) = 25 holds fewer than 10 items."""
    neighbours = nearest(_clusters(40), 10, Search(exact_items=0, n_probe=1))
    assert neighbours.min() >= 0
    assert all(len(set(row)) == 10 for row in neighbours.tolist())
