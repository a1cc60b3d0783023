"""The cold-start split in training and evaluation, on a world whose new items show by their images who clicks them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recsys.recbole.dataset import Dataset
from recsys.recbole.isolation import isolated
from recsys.recbole.keys import with_ranker
from recsys.recbole.models import full_scores
from recsys.recbole.splits import Among
from recsys.recbole.trainer import Trainer
from recsys.recbole.training import TrainedRanker, train_ranker
from recsys.scoring.metrics import per_user
from recsys.scoring.ranks import held_out_ranks
from worlds import Checkerboard, checkerboard

COLD = {"eval_args": {"split": {"COLD": 0.4}}, "topk": [25], "valid_metric": "Recall@25"}


@pytest.fixture(scope="module")
def large_world(tmp_path_factory: pytest.TempPathFactory) -> Checkerboard:
    """204 items, of which 82 are cold: 41 for validation and 41 for the test, there 25 even ones and 16 odd ones."""
    return checkerboard(tmp_path_factory.mktemp("large"), n_users=200, n_items=200, n_withheld=4)


@pytest.fixture(scope="module")
def trained(large_world: Checkerboard, tmp_path_factory: pytest.TempPathFactory) -> TrainedRanker:
    config = {**large_world.config, **COLD, "features": {"image": str(large_world.image)}, "embedding_size": 8}
    return train_ranker(with_ranker(config, "VBPR"), tmp_path_factory.mktemp("vbpr"), progress=False)


def _cold_items(dataset: Dataset) -> np.ndarray:
    return np.union1d(dataset.interactions.valid[1], dataset.interactions.test[1])


def _negatives(dataset: Dataset) -> np.ndarray:
    with isolated(1):
        return np.concatenate([batch["neg_item_id"].numpy() for batch in dataset.loader("train")])


@pytest.mark.parametrize("distribution", ["uniform", "popularity"])
def test_negatives_are_training_items(large_world: Checkerboard, distribution: str) -> None:
    """Every training item occurs, no cold item and none without interactions, and no item that the user clicked."""
    arguments = {"distribution": distribution, "sample_num": 20, "alpha": 1.0, "dynamic": False, "candidate_num": 0}
    config = {**large_world.config, **COLD, "model": "BPR", "train_neg_sample_args": arguments}
    dataset = Dataset.load(config)
    users, items = dataset.interactions.train
    assert set(_negatives(dataset)) == set(items)
    clicked = set(zip(users, items, strict=True))
    with isolated(1):
        for batch in dataset.loader("train"):
            drawn = zip(batch["user_id"].tolist(), batch["neg_item_id"].tolist(), strict=True)
            assert not clicked & set(drawn)


def test_uniform_negatives_are_uniform_over_training_items(large_world: Checkerboard) -> None:
    """A user with c clicks on n distinct items has 30 c negatives, spread evenly over the other training items: each
    item's count lies within 5 deviations of the sum over the users who did not click it, some 330.
    """
    arguments = {"distribution": "uniform", "sample_num": 30, "alpha": 1.0, "dynamic": False, "candidate_num": 0}
    dataset = Dataset.load({**large_world.config, **COLD, "model": "BPR", "train_neg_sample_args": arguments})
    items = np.unique(dataset.interactions.train[1])
    clicked = np.zeros((dataset.n_users, dataset.n_items), bool)
    clicked[dataset.interactions.train] = True
    unclicked = ~clicked[1:, items]
    n_clicks = np.bincount(dataset.interactions.train[0], minlength=dataset.n_users)[1:]
    expected = (unclicked * (30 * n_clicks / unclicked.sum(1))[:, None]).sum(0)
    counts = np.bincount(_negatives(dataset), minlength=dataset.n_items)[items]
    assert (abs(counts - expected) < 5 * np.sqrt(expected)).all()


def test_dynamic_negatives_are_training_items(large_world: Checkerboard) -> None:
    arguments = {"distribution": "uniform", "sample_num": 1, "alpha": 1.0, "dynamic": True, "candidate_num": 5}
    config = {**large_world.config, **COLD, "model": "BPR", "train_neg_sample_args": arguments}
    dataset = Dataset.load(config)
    with isolated(1):
        batches = Trainer(dataset, dataset.new_ranker()).loader("train")
        drawn = np.concatenate([batch["neg_item_id"].numpy() for batch in batches])
    assert not set(drawn) & set(_cold_items(dataset))


def test_other_splits_draw_among_all_items(large_world: Checkerboard) -> None:
    """As RecBole does: an item without any training interaction is drawn as well."""
    dataset = Dataset.load({**large_world.config, "model": "BPR"})
    assert dataset.candidates("test") is None
    assert np.setdiff1d(_negatives(dataset), dataset.interactions.train[1]).size > 0


def test_a_user_of_all_training_items_is_named(tmp_path: Path) -> None:
    """Of 6 items 2 are withheld; "all" has clicked every item, so also all of the 4 others."""
    (tmp_path / "six").mkdir()
    clicks = [f"all\ti{item}\t{item}" for item in range(6)] + ["one\ti0\t9", "one\ti1\t10"]
    (tmp_path / "six" / "six.inter").write_text("\n".join(["user_id:token\titem_id:token\ttimestamp:float", *clicks]))
    (tmp_path / "six" / "six.item").write_text("\n".join(["item_id:token", *(f"i{item}" for item in range(9))]) + "\n")
    load_col = {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id"]}
    config = {"data_path": str(tmp_path), "dataset": "six", "model": "BPR", "load_col": load_col}
    dataset = Dataset.load({**config, "eval_args": {"split": {"COLD": 0.33}}})
    with pytest.raises(ValueError, match="user all has clicked all 4 items of the training part, so that no negative"):
        _negatives(dataset)


def test_the_image_decides_among_cold_items(trained: TrainedRanker) -> None:
    """The user's clicks are among the at most 25 of the 41 cold items that have the user's parity: with the images
    Recall@25 is near 1. With pictures permuted among the cold items it is chance, 25 / 41 = .61; five permutations.
    """
    assert trained.metrics("test")["recall@25"] > 0.95
    dataset, image = trained.dataset, trained.ranker.content.features("image")
    cold, original = torch.from_numpy(np.unique(dataset.interactions.test[1])), image.clone()
    permuted = []
    try:
        for seed in range(5):
            shuffled = cold[torch.randperm(len(cold), generator=torch.Generator().manual_seed(seed))]
            image[cold] = original[shuffled]
            trained.ranker.clear_cache()
            permuted.append(trained.metrics("test")["recall@25"])
    finally:
        image.copy_(original)
        trained.ranker.clear_cache()
    assert np.mean(permuted) == pytest.approx(25 / 41, abs=0.1)


def test_cold_items_are_not_pushed_to_the_end(trained: TrainedRanker) -> None:
    """Among all items a user's click competes with the some 100 unseen items of the user's parity, of which none is
    preferred: Recall@25 is about a quarter. With cold items among the negatives it was .054.
    """
    assert trained.metrics("test")["recall@25 among all"] == pytest.approx(0.25, abs=0.06)


def test_metrics_among_cold_items_and_among_all(trained: TrainedRanker) -> None:
    """RecBole's evaluator agrees with ours in both rows; early stopping reads the first."""
    dataset, metrics = trained.dataset, trained.metrics("test")
    assert list(metrics) == ["recall@25", "ndcg@25", "recall@25 among all", "ndcg@25 among all"]
    rows: tuple[tuple[Among, str], ...] = (("split", ""), ("all", " among all"))
    for candidates, suffix in rows:
        ranks = held_out_ranks(lambda users: full_scores(trained.ranker, users), dataset, candidates=candidates)
        for name, values in per_user(ranks, 25).groupby("metric")["value"]:
            assert metrics[f"{name}{suffix}"] == pytest.approx(values.mean(), abs=1e-6)
    best = trained.history[trained.best_epoch - 1]
    assert (
        best["valid.recall@25"] == trained.best_valid == max(row.get("valid.recall@25", 0) for row in trained.history)
    )
    assert trained.metrics("valid")["recall@25"] == pytest.approx(best["valid.recall@25"], abs=1e-6)
    assert not any("among all" in key for row in trained.history for key in row)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"topk": [42], "valid_metric": "Recall@42"},
            "topk asks for lists of 42, but the split COLD withholds 41 items",
        ),
        (
            {"eval_args": {"split": {"COLD": 0.4}, "mode": "uni100"}},
            "but the split COLD ranks all withheld items: mode",
        ),
        ({"repeatable": True}, "repeatable is true, but under the split COLD no item stands in two parts"),
    ],
)
def test_refusals(large_world: Checkerboard, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataset = Dataset.load({**large_world.config, **COLD, "model": "BPR", **change})
        Trainer(dataset, dataset.new_ranker())
