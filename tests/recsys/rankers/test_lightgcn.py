from pathlib import Path

import pytest
import torch

from dense import (
    BATCH,
    assert_equal_to_oracle,
    assert_scores_equal,
    bpr,
    lightgcn,
    reading_weights,
    symmetric,
    training_clicks,
)
from recsys.recbole.dataset import Dataset
from recsys.recbole.models import full_scores
from recsys.recbole.training import train_ranker
from worlds import Checkerboard


@pytest.mark.parametrize(("n_layers", "fanout"), [(1, None), (3, None), (3, "all")])
def test_scores_losses_and_gradients_equal_the_oracle(world: Checkerboard, n_layers: int, fanout: str | None) -> None:
    """E* = (E + A E + ... + A^n E) / (n + 1) with A = D^-1/2 [[0, R], [R^T, 0]] D^-1/2, BPR by E*, and 0.5 / 2 of the
    squares of the batch's rows of E.
    """
    settings = {"model": "LightGCN", "n_layers": n_layers, "fanout": fanout, "reg_weight": 0.5}
    dataset = Dataset.load({**world.config, **settings})
    ranker = dataset.new_ranker()
    w = reading_weights(ranker)
    users, items = lightgcn(symmetric(training_clicks(dataset), dataset), w, n_layers)
    user, item, other = BATCH.values()
    ranking = bpr(users[user], items[item], items[other]).mean()
    initial = [w["user_embedding.weight"][user], *(w["item_embedding.weight"][some] for some in (item, other))]
    norm = 0.5 * torch.stack([rows.square().sum() for rows in initial]).sum() / 2 / 4
    assert_equal_to_oracle(ranker, ranker.calculate_loss(BATCH), (ranking, norm), w)
    assert_scores_equal(ranker, dataset, (users @ items.T).detach())


def test_loss_regularises_the_initial_embeddings(world: Checkerboard) -> None:
    """One triple: softplus(s_neg - s_pos), and reg_weight * (|u|^2 + |p|^2 + |n|^2) / 2."""
    dataset = Dataset.load({**world.config, "model": "LightGCN", "reg_weight": 0.5})
    ranker = dataset.new_ranker()
    batch = {"user_id": torch.tensor([2]), "item_id": torch.tensor([3]), "neg_item_id": torch.tensor([9])}
    loss, norm = ranker.calculate_loss(batch)
    scores = full_scores(ranker.eval(), torch.tensor([2]))[0]
    torch.testing.assert_close(loss, torch.log(1 + torch.exp(scores[9] - scores[3])))
    initial = ranker.user_embedding.weight[2].square().sum() + ranker.item_embedding.weight[[3, 9]].square().sum()
    torch.testing.assert_close(norm, 0.5 * initial / 2)


def test_the_batch_s_own_neighbourhood_gives_the_same_training(world: Checkerboard, tmp_path: Path) -> None:
    """`fanout: all` reads exactly what the batch needs of the whole graph: 3 epochs end at the same scores."""
    config = {**world.config, "model": "LightGCN", "epochs": 3}
    whole, part = (
        train_ranker({**config, "fanout": fanout}, tmp_path / str(fanout), progress=False) for fanout in (None, "all")
    )
    assert [row["loss.bpr"] for row in part.history] == pytest.approx([row["loss.bpr"] for row in whole.history])
    users = torch.arange(1, 61)
    torch.testing.assert_close(full_scores(part.ranker, users), full_scores(whole.ranker, users), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("embedding_size", 0, "must be a whole number from 1 on"),
        ("n_layers", -1, "must be a whole number from 0 on"),
        ("reg_weight", -0.1, r"must lie in \[0, inf\)"),
        ("fanout", True, "must be a whole number from 1 on or 'all'"),
    ],
)
def test_impossible_settings(world: Checkerboard, key: str, value: object, allowed: str) -> None:
    with pytest.raises(ValueError, match=f"{key} is {value!r}, but {allowed}"):
        Dataset.load({**world.config, "model": "LightGCN", key: value}).new_ranker()


@pytest.mark.parametrize("fanout", [None, 2])
def test_it_learns_the_parity_by_the_whole_graph_or_two_neighbours_a_node(
    world: Checkerboard, tmp_path: Path, fanout: int | None
) -> None:
    """Each user's ordinary items score higher than the others' for nearly all."""
    config = {**world.config, "model": "LightGCN", "fanout": fanout, "eval_step": 0}
    trained = train_ranker(config, tmp_path, progress=False)
    dataset = trained.dataset
    scores = full_scores(trained.ranker, torch.arange(1, dataset.n_users))
    scores = scores[:, [dataset.item_id(f"i{n}") for n in range(60)]]
    users = torch.tensor([world.parity[token] for token in dataset.user_tokens[1:]])
    right = users[:, None] == torch.arange(60) % 2
    own, other = ((scores * mask).sum(1) / mask.sum(1) for mask in (right, ~right))
    assert (own > other).float().mean() > 0.95
