from pathlib import Path

import pytest
import torch

from recsys.recbole import Dataset, full_scores
from recsys.training import train_ranker
from worlds import Checkerboard


def test_scores_equal_the_dense_formula(world: Checkerboard) -> None:
    """E* = (E + A E + A^2 E) / 3 with the dense A = D^-1/2 [[0, R], [R^T, 0]] D^-1/2, in float64."""
    dataset = Dataset.load({**world.config, "model": "LightGCN", "n_layers": 2})
    ranker = dataset.new_ranker().eval()
    users, items = dataset.interactions.train
    n_users, size = dataset.n_users, dataset.n_users + dataset.n_items
    dense = torch.zeros(size, size, dtype=torch.float64)
    dense[torch.from_numpy(users), n_users + torch.from_numpy(items)] = 1
    dense += dense.T.clone()
    scale = dense.sum(1).clamp(min=1).rsqrt()
    dense = scale[:, None] * dense * scale
    start = torch.cat([ranker.user_embedding.weight, ranker.item_embedding.weight]).double()
    final = (start + dense @ start + dense @ dense @ start) / 3
    everybody = torch.arange(n_users)
    expected = (final[:n_users] @ final[n_users:].T).float()
    torch.testing.assert_close(full_scores(ranker, everybody)[:, 1:], expected[:, 1:], atol=1e-6, rtol=1e-5)


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


def test_two_neighbours_a_node_are_enough_to_learn_the_parity(world: Checkerboard, tmp_path: Path) -> None:
    """Each user's ordinary items score higher than the others' for nearly all, as after training on the whole graph."""
    config = {**world.config, "model": "LightGCN", "fanout": 2, "eval_step": 0}
    trained = train_ranker(config, tmp_path, progress=False)
    dataset = trained.dataset
    scores = full_scores(trained.ranker, torch.arange(1, dataset.n_users))
    scores = scores[:, [dataset.item_id(f"i{n}") for n in range(60)]]
    users = torch.tensor([world.parity[token] for token in dataset.user_tokens[1:]])
    right = users[:, None] == torch.arange(60) % 2
    own, other = ((scores * mask).sum(1) / mask.sum(1) for mask in (right, ~right))
    assert (own > other).float().mean() > 0.95
