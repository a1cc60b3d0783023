from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.evaluation import delta_r, held_out_ranks, ndcg_at, per_user, rank_of, recall_at
from recsys.recbole import Dataset, full_scores, with_ranker
from recsys.trainer import Trainer
from recsys.training import train_ranker
from worlds import Checkerboard


def test_rank_by_hand() -> None:
    """Padding first. Item 3 (0.5) stands behind 1 (0.9) and 4 (0.7), and behind 5, which scores the same."""
    scores = torch.tensor([-torch.inf, 0.9, 0.1, 0.5, 0.7, 0.5])
    assert rank_of(scores, 3) == 4
    assert rank_of(scores, 3, excluded=[0, 1, 5]) == 2
    assert rank_of(scores, 1) == 1
    assert rank_of(scores, 1, excluded=[1]) == 1


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


class _Fixed(torch.nn.Module):
    """A ranker whose scores are a given table."""

    USER_ID, device = "user_id", torch.device("cpu")
    type = None  # type: ignore[assignment]

    def __init__(self, table: torch.Tensor) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(table)

    def full_sort_predict(self, interaction) -> torch.Tensor:
        return self.table[interaction["user_id"]].flatten()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**31), st.sampled_from(["valid", "test"]), st.booleans())
def test_per_user_metrics_average_to_recboles(
    world: Checkerboard, seed: int, phase: Literal["valid", "test"], several: bool
) -> None:
    split = {"RS": [0.6, 0.2, 0.2]} if several else {"LS": "valid_and_test"}
    dataset = Dataset.load({**world.config, "eval_args": {"split": split}, "topk": [3, 10]})
    table = torch.randn(dataset.n_users, dataset.n_items, generator=torch.Generator().manual_seed(seed))
    ranker = _Fixed(table)
    theirs = Trainer(dataset, ranker).evaluate_on(phase)
    ranks = held_out_ranks(lambda users: full_scores(ranker, users), dataset, phase=phase, block=7)
    for k in (3, 10):
        ours = per_user(ranks, k).groupby("metric")["value"].mean()
        assert ours[f"recall@{k}"] == pytest.approx(theirs[f"recall@{k}"], abs=1e-6)
        assert ours[f"ndcg@{k}"] == pytest.approx(theirs[f"ndcg@{k}"], abs=1e-6)


def test_ranks_of_some_users_are_those_of_rank_of(world: Checkerboard) -> None:
    dataset = Dataset.load(world.config)
    table = torch.randn(dataset.n_users, dataset.n_items, generator=torch.Generator().manual_seed(1))
    ranks = held_out_ranks(lambda users: table[users], dataset, users=[4, 9])
    assert ranks["user"].tolist() == [dataset.user_tokens[4], dataset.user_tokens[9]]
    for user, item, rank in zip((4, 9), ranks["item"], ranks["rank"], strict=True):
        users, items = dataset.interactions.valid
        seen = np.array([0, *dataset.history(user), *items[users == user]])
        assert rank == rank_of(table[user], dataset.item_id(item), seen)


def test_pop_counts_training_clicks(world: Checkerboard, tmp_path: Path) -> None:
    trained = train_ranker(with_ranker(world.config, "Pop"), tmp_path, progress=False)
    counts = np.bincount(trained.dataset.interactions.train[1], minlength=trained.dataset.n_items)
    scores = full_scores(trained.ranker, torch.tensor([1]))[0]
    np.testing.assert_allclose(scores[1:], counts[1:] / counts.max(), rtol=1e-6)
    # Nobody clicked a withheld item in training: every one ties with 41 others and stands behind all of them.
    ranks = held_out_ranks(lambda users: full_scores(trained.ranker, users), trained.dataset)
    assert ranks["rank"].min() > 60 - 10
    assert trained.metrics()["recall@10"] == 0
