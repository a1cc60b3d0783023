from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.recbole.dataset import Dataset
from recsys.recbole.models import full_scores
from recsys.recbole.trainer import Trainer
from recsys.scoring.metrics import per_user
from recsys.scoring.ranks import held_out_ranks, top_lists, write_parquet
from worlds import Checkerboard


def _random_clicks(folder: Path, seed: int) -> dict:
    """5 to 25 people with 3 to 15 clicks each, some on the same item at the same time, on up to 40 items."""
    rng = np.random.default_rng(seed)
    n_users, n_items = int(rng.integers(5, 26)), int(rng.integers(20, 41))
    lines = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    for user in range(n_users):
        clicked = rng.integers(0, n_items, rng.integers(3, 16))
        lines += [f"u{user}\ti{item}\t1\t{rng.integers(0, 9)}" for item in clicked]
    home = folder / str(seed) / "random"
    home.mkdir(parents=True, exist_ok=True)
    (home / "random.inter").write_text("\n".join(lines) + "\n")
    (home / "random.item").write_text("\n".join(["item_id:token", *(f"i{item}" for item in range(n_items))]) + "\n")
    return {"data_path": str(home.parent), "dataset": "random", "use_gpu": False}


SPLITS = ({"LS": "valid_and_test"}, {"RS": [0.5, 0.25, 0.25]}, {"COLD": 0.5})


class _Fixed(torch.nn.Module):
    """A ranker whose scores are a given table."""

    USER_ID, device = "user_id", torch.device("cpu")
    type = None  # type: ignore[assignment]

    def __init__(self, table: torch.Tensor) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(table)

    def full_sort_predict(self, interaction) -> torch.Tensor:
        return self.table[interaction["user_id"]].flatten()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 2**31), st.sampled_from(["valid", "test"]), st.sampled_from(SPLITS), st.sampled_from([None, "first"])
)
def test_per_user_metrics_average_to_recboles(
    tmp_path: Path, seed: int, phase: Literal["valid", "test"], split: dict, duplicates: str | None
) -> None:
    """Random data and random scores without ties, at several k; also where somebody held out what was seen before."""
    config = _random_clicks(tmp_path, seed) | {"eval_args": {"split": split}, "rm_dup_inter": duplicates}
    lengths = [1, 2] if "COLD" in split else [1, 5, 20]  # a cold-start split may withhold as few as 2 items for a phase
    dataset = Dataset.load({**config, "topk": lengths, "valid_metric": "Recall@1"})
    size = dataset.n_users * dataset.n_items
    table = torch.randperm(size, generator=torch.Generator().manual_seed(seed)).view(-1, dataset.n_items).float() / size
    ranker = _Fixed(table)
    recbole_metrics = Trainer(dataset, ranker).evaluate_on(phase)
    ranks = held_out_ranks(lambda users: full_scores(ranker, users), dataset, phase=phase, block=7)
    for k in lengths:
        our_means = per_user(ranks, k).groupby("metric")["value"].mean()
        assert our_means[f"recall@{k}"] == pytest.approx(recbole_metrics[f"recall@{k}"], abs=1e-6)
        assert our_means[f"ndcg@{k}"] == pytest.approx(recbole_metrics[f"ndcg@{k}"], abs=1e-6)


def test_top_lists_by_hand(tmp_path: Path) -> None:
    """Item n of six scores n for u0 and -n for u1. u0 has seen 5 and (in validation) 4, u1 1 and 2; 3 is held out.

    In the test the best of u0 are 6, 3, 2, 1, those of u1 3, 4, 5, 6; in validation 4 and 2 are candidates as well.
    """
    home = tmp_path / "six"
    home.mkdir()
    clicks = ["u0\t5\t1", "u0\t4\t2", "u0\t3\t3", "u1\t1\t4", "u1\t2\t5", "u1\t3\t6"]
    (home / "six.inter").write_text("\n".join(["user_id:token\titem_id:token\ttimestamp:float", *clicks]) + "\n")
    (home / "six.item").write_text("item_id:token\n" + "\n".join("123456") + "\n")
    config = {"data_path": str(tmp_path), "dataset": "six", "eval_args": {"split": {"LS": "valid_and_test"}}}
    dataset = Dataset.load({**config, "load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id"]}})
    values = torch.tensor([0.0, *(float(item) for item in dataset.item_tokens[1:])])
    sign = torch.zeros(3)
    sign[dataset.user_id("u0")], sign[dataset.user_id("u1")] = 1, -1

    def lists(**options) -> dict[str, list[tuple[str, int, float]]]:
        frame = top_lists(lambda users: sign[users, None] * values, dataset, block=1, **options)
        return {
            str(user): [*zip(part["item"], part["rank"], part["score"], strict=True)]
            for user, part in frame.groupby("user")
        }

    assert lists(k=3) == {
        "u0": [("6", 1, 6), ("3", 2, 3), ("2", 3, 2)],
        "u1": [("3", 1, -3), ("4", 2, -4), ("5", 3, -5)],
    }
    assert [item for item, *_ in lists(k=6)["u0"]] == ["6", "3", "2", "1"]  # four candidates: a list of four
    assert lists(k=2, phase="valid", users=[dataset.user_id("u1")]) == {"u1": [("2", 1, -2), ("3", 2, -3)]}
    for k in (0, 7):
        with pytest.raises(ValueError, match=f"lists of k = {k} were asked for, but there are 6 items"):
            lists(k=k)


def test_lists_and_ranks_agree_and_come_back_from_parquet(world: Checkerboard, tmp_path: Path) -> None:
    """A held-out item of rank r <= k stands at place r of the list, and nothing else of the held-out ones is there."""
    dataset = Dataset.load(world.config)
    table = torch.randn(dataset.n_users, dataset.n_items, generator=torch.Generator().manual_seed(2))
    ranks = held_out_ranks(lambda users: table[users], dataset, block=16)
    lists = top_lists(lambda users: table[users], dataset, k=30, block=16)
    assert lists.groupby("user").size().tolist() == [30] * 60
    both = ranks.merge(lists, on=["user", "item"], suffixes=("", "_in_list"))
    assert len(both) == (ranks["rank"] <= 30).sum() > 10
    assert (both["rank"] == both["rank_in_list"]).all()
    write_parquet(lists, tmp_path / "deep" / "lists.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "deep" / "lists.parquet"), lists)
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["lists.parquet"]


def test_a_list_longer_than_the_catalogue(world: Checkerboard) -> None:
    dataset = Dataset.load({**world.config, "topk": [10, 103]})
    with pytest.raises(ValueError, match="topk asks for lists of 103, but there are 102 items"):
        Trainer(dataset, _Fixed(torch.rand(dataset.n_users, dataset.n_items)))
    Trainer(Dataset.load({**world.config, "topk": [10, 102]}), _Fixed(torch.rand(dataset.n_users, dataset.n_items)))


def test_ranks_of_some_users_are_those_of_their_sorted_lists(world: Checkerboard) -> None:
    dataset = Dataset.load(world.config)
    table = torch.randn(dataset.n_users, dataset.n_items, generator=torch.Generator().manual_seed(1))
    ranks = held_out_ranks(lambda users: table[users], dataset, users=[4, 9])
    assert ranks["user"].tolist() == [dataset.user_tokens[4], dataset.user_tokens[9]]
    for user, item, rank in zip((4, 9), ranks["item"], ranks["rank"], strict=True):
        users, items = dataset.interactions.valid
        seen = np.array([0, *dataset.history(user), *items[users == user]])
        target, unseen = dataset.item_id(item), np.setdiff1d(np.arange(dataset.n_items), seen)
        assert unseen[table[user, unseen].argsort(descending=True)][rank - 1] == target


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_held_out_item_without_a_finite_score_has_no_rank(world: Checkerboard, value: float) -> None:
    dataset = Dataset.load(world.config)
    users, items = dataset.interactions.test
    table = torch.zeros(dataset.n_users, dataset.n_items)
    table[users[3], items[3]] = value
    user, item = dataset.user_tokens[users[3]], dataset.item_tokens[items[3]]
    with pytest.raises(ValueError, match=f"the score of item {item} for user {user} is {value}"):
        held_out_ranks(lambda some: table[some], dataset, block=2)


def test_ranks_and_lists_among_candidates(world: Checkerboard) -> None:
    """Among given items a rank is one more than the number of these items that the user has not seen and that score
    higher; held-out items that are no candidates have no rank.
    """
    dataset = Dataset.load(world.config)
    table = torch.randn(dataset.n_users, dataset.n_items, generator=torch.Generator().manual_seed(3))
    candidates = np.arange(20, 80)

    def score(users: torch.Tensor) -> torch.Tensor:
        return table[users]

    ranks = held_out_ranks(score, dataset, candidates=candidates, block=16)
    held_users, held_items = dataset.interactions.test
    kept = np.isin(held_items, candidates)
    assert 0 < kept.sum() < len(kept)
    assert ranks["item"].tolist() == dataset.item_tokens[held_items[kept]].tolist()
    for user, item, rank in zip(held_users[kept], held_items[kept], ranks["rank"], strict=True):
        valid_users, valid_items = dataset.interactions.valid
        unseen = np.setdiff1d(candidates, [*dataset.history(int(user)), *valid_items[valid_users == user]])
        assert rank == 1 + (table[user, unseen] > table[user, item]).sum()
    lists = top_lists(score, dataset, k=100, candidates=candidates, block=16)
    assert set(lists["item"]) == set(dataset.item_tokens[candidates])
    assert lists.groupby("user").size().max() <= 60
    both = ranks.merge(lists, on=["user", "item"], suffixes=("", "_in_list"))
    assert len(both) == len(ranks) and (both["rank"] == both["rank_in_list"]).all()


def test_under_cold_start_the_phase_s_withheld_items_are_ranked(world: Checkerboard) -> None:
    """By default; among all items a rank counts the others that score higher too."""
    dataset = Dataset.load({**world.config, "eval_args": {"split": {"COLD": 0.2}}})
    table = torch.randn(dataset.n_users, dataset.n_items, generator=torch.Generator().manual_seed(4))
    cold = np.unique(dataset.interactions.test[1])
    lists, given = (top_lists(lambda users: table[users], dataset, candidates=c) for c in ("split", cold))
    assert set(lists["item"]) == set(dataset.item_tokens[cold])
    pd.testing.assert_frame_equal(lists, given)
    by_split, among_all = (held_out_ranks(lambda users: table[users], dataset, candidates=c) for c in ("split", "all"))
    assert by_split["item"].tolist() == among_all["item"].tolist()
    assert (by_split["rank"] <= among_all["rank"]).all() and by_split["rank"].max() <= 10 < among_all["rank"].max()


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        (np.array([5, 0]), "candidate 0 is no item: internal ids are 1 to 102"),
        (np.array([103, 5]), "candidate 103 is no item"),
    ],
)
def test_impossible_candidates(world: Checkerboard, candidates, message: str) -> None:
    dataset = Dataset.load(world.config)
    table = torch.zeros(dataset.n_users, dataset.n_items)
    for function in (held_out_ranks, top_lists):
        with pytest.raises(ValueError, match=message):
            function(lambda users: table[users], dataset, candidates=candidates)
