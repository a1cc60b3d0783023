"""EASE against its closed form: a case worked by hand, a float64 oracle, the trainer, and the memory that it needs."""

import tracemalloc
from pathlib import Path

import numpy as np
import psutil
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.rankers import ease
from recsys.rankers.ease import ease_weights
from recsys.recbole.dataset import Dataset
from recsys.recbole.keys import with_ranker
from recsys.recbole.models import full_scores
from recsys.recbole.training import load_ranker, train_ranker
from recsys.scoring.counterfactual import Counterfactual
from worlds import Checkerboard, right_parity_first


def _clicks(rows: list[list[int]]) -> scipy.sparse.csr_matrix:
    return scipy.sparse.csr_matrix(np.array(rows, np.float32))


def _oracle(clicks: np.ndarray, reg_weight: float) -> np.ndarray:
    """Steck 2019, Algorithm 1, in float64 by numpy."""
    gram = clicks.astype(np.float64).T @ clicks + reg_weight * np.eye(clicks.shape[1])
    precision = np.linalg.inv(gram)
    weights = precision / -np.diag(precision)
    weights[np.diag_indices(len(weights))] = 0
    return weights


def test_two_items_by_hand() -> None:
    """Item 0 has 3 clicks, item 1 has 2, one user clicked both; lambda 1: the Gram matrix is [[4, 1], [1, 3]].

    Its inverse is [[3, -1], [-1, 4]] / 11, so B_01 = 1/11 : 4/11 = 1/4 and B_10 = 1/11 : 3/11 = 1/3.
    """
    weights = ease_weights(_clicks([[1, 1], [1, 0], [1, 0], [0, 1]]), 1)
    np.testing.assert_allclose(weights, [[0, 1 / 4], [1 / 3, 0]], rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 40), st.floats(0.1, 1000), st.sampled_from([1, 7, 1024]))
def test_weights_equal_the_closed_form(seed: int, n_items: int, reg_weight: float, block: int) -> None:
    """In any size of blocks; items without clicks have zeros in their rows and columns."""
    rng = np.random.default_rng(seed)
    clicks = (rng.random((30, n_items)) < rng.random(n_items)).astype(np.float32)
    clicks[:, rng.random(n_items) < 0.2] = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ease, "_BLOCK", block)
        weights = ease_weights(scipy.sparse.csr_matrix(clicks), reg_weight)
    np.testing.assert_allclose(weights, _oracle(clicks, reg_weight), rtol=1e-5, atol=1e-7)
    assert (np.diag(weights) == 0).all()
    without = clicks.sum(0) == 0
    assert (weights[without] == 0).all() and (weights[:, without] == 0).all()


def test_training_is_one_pass_and_its_checkpoint_scores_the_same(world: Checkerboard, tmp_path: Path) -> None:
    """Scores are X B of the training clicks, repeated ones counted once; pairs score as full lists do."""
    config = with_ranker({**world.config, "reg_weight": 20, "rm_dup_inter": None}, "EASE")
    trained = train_ranker(config, tmp_path, progress=False)
    assert len(trained.history) == 1
    dataset = trained.dataset
    clicks = np.zeros((dataset.n_users, dataset.n_items))
    clicks[dataset.interactions.train] = 1
    users = torch.arange(1, dataset.n_users)
    expected = (clicks @ _oracle(clicks, 20))[1:, 1:]
    for ranker in (trained.ranker, load_ranker(config, tmp_path).ranker):
        scores = full_scores(ranker, users)
        np.testing.assert_allclose(scores[:, 1:], expected, rtol=1e-4, atol=1e-6)
        pairs = {"user_id": torch.tensor([5, 1, 5]), "item_id": torch.tensor([7, 9, 30])}
        np.testing.assert_allclose(ranker.predict(pairs), scores[[4, 0, 4], [7, 9, 30]], rtol=1e-5, atol=1e-6)


def test_repeated_clicks_count_once(tmp_path: Path) -> None:
    (tmp_path / "twice").mkdir()
    lines = ["user_id:token\titem_id:token\ttimestamp:float", "a\tx\t1", "a\tx\t2", "a\ty\t3", "b\tx\t4"]
    (tmp_path / "twice" / "twice.inter").write_text("\n".join(lines) + "\n")
    config = {"data_path": str(tmp_path), "dataset": "twice", "model": "EASE", "reg_weight": 1, "rm_dup_inter": None}
    config["load_col"] = {"inter": ["user_id", "item_id", "timestamp"]}
    dataset = Dataset.load({**config, "eval_args": {"split": {"RS": [1.0, 0.0, 0.0]}}})
    x, y, a = dataset.item_id("x"), dataset.item_id("y"), dataset.user_id("a")
    assert dataset.new_ranker().clicks.toarray()[a, [x, y]].tolist() == [1, 1]


def test_ease_finds_the_parity_of_users(world: Checkerboard, tmp_path: Path) -> None:
    """Items of different parity are never clicked together: their weights are 0, and so are scores across parities."""
    trained = train_ranker(with_ranker({**world.config, "reg_weight": 20}, "EASE"), tmp_path, progress=False)
    dataset = trained.dataset
    ordinary = [name for name in world.parity if name.startswith("i")]
    scores = full_scores(trained.ranker, torch.arange(1, dataset.n_users))
    scores = scores[:, [dataset.item_id(name) for name in ordinary]]
    parity = torch.tensor([world.parity[name] for name in ordinary])
    users = torch.tensor([world.parity[name] for name in dataset.user_tokens[1:]])
    right = users[:, None] == parity
    assert scores[~right].abs().max() < 1e-6
    assert scores[right].mean() > 0.1 and (scores[right] > 0).float().mean() > 0.95
    assert right_parity_first(world, trained) == pytest.approx(0.5)  # withheld items all score 0


def test_a_matrix_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """100,000 x 100,000 x 12 bytes are 120 GB; nothing is allocated before the refusal."""
    memory = psutil.virtual_memory()._replace(available=16_000_000_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    with pytest.raises(
        ValueError,
        match=r"a matrix of 100000 x 100000 items, which takes 120.0 GB of memory, and 16.0 GB are available; filter",
    ):
        ease_weights(scipy.sparse.csr_matrix((3, 100_000), dtype=np.float32), 250)


def test_the_fit_stays_below_the_announced_memory() -> None:
    """Peak of NumPy's allocations for 1,500 items: the inverse, the weights, and blocks of 1,024 rows."""
    clicks = _clicks((np.random.default_rng(0).random((200, 1500)) < 0.02).tolist())
    tracemalloc.start()
    try:
        ease_weights(clicks, 250)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < ease.BYTES_PER_ENTRY * 1500**2 + 2 * 8 * 1024 * 1500


def test_refusals(world: Checkerboard, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="reg_weight is 0, but must be a number above 0"):
        Dataset.load(with_ranker({**world.config, "reg_weight": 0}, "EASE")).new_ranker()
    trained = train_ranker(with_ranker(world.config, "EASE"), tmp_path, progress=False)
    with pytest.raises(ValueError, match="EASE reads no pictures when it scores"):
        Counterfactual(trained.ranker)
