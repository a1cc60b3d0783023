"""VBPR against a dense float64 oracle written from the paper's equation 4, and on the checkerboard world."""

from pathlib import Path

import pytest
import torch

from dense import (
    BATCH,
    CONTENT,
    assert_equal_to_oracle,
    assert_scores_equal,
    random_tables,
    reading_weights,
    tables_by_id,
)
from recsys.recbole.dataset import Dataset
from recsys.recbole.training import train_ranker
from recsys.scoring.counterfactual import Counterfactual
from worlds import Checkerboard, right_parity_first


@pytest.mark.parametrize(("modalities", "holes"), CONTENT)
def test_scores_losses_and_gradients_equal_the_oracle(
    world: Checkerboard, tmp_path: Path, modalities: tuple[str, ...], holes: bool
) -> None:
    """p_u . q_i + theta_u . (E f_i) + beta_i + beta' . f_i, and 0.1 / 2 of the squares of p, theta, q and beta."""
    paths = random_tables(world, tmp_path, modalities, holes=holes)
    dataset = Dataset.load({**world.config, "model": "VBPR", "features": paths, "reg_weight": 0.1})
    ranker = dataset.new_ranker()
    torch.nn.init.normal_(ranker.item_bias.weight, generator=torch.Generator().manual_seed(1))
    w = reading_weights(ranker)
    f = torch.cat([table for table, _ in tables_by_id(dataset, paths).values()], dim=1)
    last = torch.cat([w[f"projections.{name}.weight"] for name in modalities], dim=1)
    e, beta_prime = last[:-1], last[-1]
    p, theta = w["user_embedding.weight"].split(16, dim=1)
    q, beta = w["item_embedding.weight"], w["item_bias.weight"][:, 0]
    scores = p @ q.T + theta @ (f @ e.T).T + (beta + f @ beta_prime)

    user, item, other = BATCH.values()
    data = -torch.log(torch.sigmoid(scores[user, item] - scores[user, other])).mean()
    tables = ((p, user), (theta, user), (q, item), (q, other), (beta, item), (beta, other))
    norm = 0.1 * torch.stack([table[some].square().sum() for table, some in tables]).sum() / 2 / 4
    assert_equal_to_oracle(ranker, ranker.calculate_loss(BATCH), (data, norm), w)
    assert_scores_equal(ranker, dataset, scores.detach())


def test_a_hole_scores_by_factors_and_bias_alone(world: Checkerboard, tmp_path: Path) -> None:
    paths = random_tables(world, tmp_path, ("image",), holes=True)
    dataset = Dataset.load({**world.config, "model": "VBPR", "features": paths})
    ranker = dataset.new_ranker().eval()
    bare = dataset.item_id("n1")
    users, items = ranker.embeddings()
    expected = ranker.user_embedding.weight[:, :16] @ ranker.item_embedding.weight[bare]
    torch.testing.assert_close(users @ items[bare], expected)


def test_a_foreign_feature_by_hand(world: Checkerboard, tmp_path: Path) -> None:
    """Everything 1 but q = 0, E = 2, beta' = 3, beta = 5: features v of sum s score 16 * 2 s + 3 s + 5."""
    paths = random_tables(world, tmp_path, ("image",), holes=False)
    dataset = Dataset.load({**world.config, "model": "VBPR", "features": paths})
    ranker = dataset.new_ranker()
    for parameter, value in ((ranker.user_embedding, 1.0), (ranker.item_embedding, 0.0), (ranker.item_bias, 5.0)):
        torch.nn.init.constant_(parameter.weight, value)
    with torch.no_grad():
        ranker.projections.of("image").weight[:-1] = 2
        ranker.projections.of("image").weight[-1] = 3
    vectors = torch.tensor([[1.0] * 9, [0.0] * 8 + [0.5]], requires_grad=True)
    actual = Counterfactual(ranker).substitute(torch.tensor([1, 2]), torch.tensor([3, 4]), vectors)
    torch.testing.assert_close(actual, torch.tensor([35 * 9.0 + 5, 35 * 0.5 + 5]))
    (gradient,) = torch.autograd.grad(actual.sum(), vectors)
    torch.testing.assert_close(gradient, torch.full((2, 9), 35.0))


def test_images_order_items_without_training_clicks(world: Checkerboard, tmp_path: Path) -> None:
    """Each user's first among 40 withheld items has the user's parity: chance is 0.5."""
    config = {**world.config, "model": "VBPR", "features": {"image": str(world.image)}}
    assert right_parity_first(world, train_ranker(config, tmp_path, progress=False)) >= 0.95


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": {}}, "at least one modality: features:"),
        ({"embedding_size": 0}, "embedding_size is 0, but must be a whole number from 1 on"),
        ({"reg_weight": -1}, r"reg_weight is -1, but must lie in \[0, inf\)"),
        ({"reg_weigt": 1}, "unknown key 'reg_weigt' for the ranker VBPR; did you mean 'reg_weight'"),
    ],
)
def test_impossible_settings(world: Checkerboard, change: dict, message: str) -> None:
    config = {**world.config, "model": "VBPR", "features": {"image": str(world.image)}}
    with pytest.raises(ValueError, match=message):
        Dataset.load({**config, **change}).new_ranker()
