"""BM3 against a dense float64 oracle written from the paper's equations, and on the checkerboard world."""

from pathlib import Path

import pytest
import torch

from dense import (
    BATCH,
    BOTH,
    CONTENT,
    assert_equal_to_oracle,
    assert_scores_equal,
    lightgcn,
    random_tables,
    reading_weights,
    symmetric,
    tables_by_id,
    training_clicks,
)
from recsys.recbole.dataset import Dataset
from recsys.recbole.models import full_scores
from recsys.recbole.training import train_ranker
from recsys.scoring.counterfactual import Counterfactual
from worlds import Checkerboard

CLICKS = {"user_id": BATCH["user_id"], "item_id": BATCH["item_id"]}


def _load(world: Checkerboard, paths: dict[str, str], **change) -> Dataset:
    return Dataset.load({**world.config, "model": "BM3", "features": paths, **change})


def _apart(one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
    return 1 - (one * two).sum(1) / (one.norm(dim=1) * two.norm(dim=1))


@pytest.mark.parametrize(
    ("modalities", "holes", "layers", "dropout"), [*((*c, 1, 0.3) for c in CONTENT), (BOTH, True, 2, 0.0)]
)
def test_scores_losses_and_gradients_equal_the_oracle(
    world: Checkerboard, tmp_path: Path, modalities: tuple[str, ...], holes: bool, layers: int, dropout: float
) -> None:
    """Views are drawn in the order user, item, modalities; targets carry no gradient."""
    paths = random_tables(world, tmp_path, modalities, holes=holes)
    dataset = _load(world, paths, n_layers=layers, dropout=dropout, cl_weight=1.5, reg_weight=0.7)
    ranker = dataset.new_ranker()
    w, generator = reading_weights(ranker), torch.Generator().manual_seed(3)

    def view(online: torch.Tensor) -> torch.Tensor:
        mask = torch.rand(online.shape, generator=generator) >= dropout
        return torch.where(mask, online.detach() / (1 - dropout), 0.0)

    def predicted(online: torch.Tensor) -> torch.Tensor:
        return online @ w["predictor.weight"].T + w["predictor.bias"]

    users, items = lightgcn(symmetric(training_clicks(dataset), dataset), w, layers)
    items = items + w["item_embedding.weight"]
    user, item = users[CLICKS["user_id"]], items[CLICKS["item_id"]]
    user_view, item_view = view(user), view(item)
    clicks = (_apart(predicted(user), item_view) + _apart(predicted(item), user_view)).mean()
    content = torch.zeros(())
    for name, (raw, has) in tables_by_id(dataset, paths).items():
        f, present = raw[CLICKS["item_id"]], has[CLICKS["item_id"]]
        t = f @ w[f"projections.{name}.weight"].T + w[f"projections.{name}.bias"]
        apart = _apart(predicted(t), item_view)
        t_view = view(t)
        # A hole's projection is T's bias, 0 after dropout for some draws: it must not count in any case.
        within = torch.where(present, _apart(predicted(t), torch.where(present[:, None], t_view, 1.0)), 0.0)
        content = content + (apart * present + within).sum() / 4
    norms = (users.square().sum().sqrt() + items.square().sum().sqrt()) / dataset.n_items

    ranker.generator.manual_seed(3)
    losses = ranker.calculate_loss(CLICKS)
    assert_equal_to_oracle(ranker, losses, (clicks, 1.5 * content, 0.7 * norms), w)
    assert_scores_equal(ranker, dataset, (predicted(users) @ predicted(items).T).detach())


def test_views_drop_numbers_and_keep_the_mean(world: Checkerboard) -> None:
    """Of 40,000 ones a share of 0.4 is 0 (standard error 0.0025), the others are 1 / 0.6; without gradient."""
    ranker = _load(world, {"image": str(world.image)}, dropout=0.4).new_ranker()
    view = ranker.target(torch.ones(2500, 16, requires_grad=True))
    assert abs(float((view == 0).float().mean()) - 0.4) < 0.01
    torch.testing.assert_close(view.max(), torch.tensor(1 / 0.6))
    assert set(view.unique().tolist()) == {0.0, view.max().item()}
    assert not view.requires_grad


def test_no_image_is_read_when_scoring(world: Checkerboard, tmp_path: Path) -> None:
    dataset = _load(world, random_tables(world, tmp_path, ("image",), holes=False))
    ranker = dataset.new_ranker().eval()
    users = torch.arange(1, dataset.n_users)
    before = full_scores(ranker, users)
    ranker.content.features("image").normal_(generator=torch.Generator().manual_seed(0))
    ranker.clear_cache()
    assert torch.equal(full_scores(ranker, users), before)
    with pytest.raises(ValueError, match="BM3 reads no pictures when it scores"):
        Counterfactual(ranker)


def test_clicks_are_learned_without_negatives(world: Checkerboard, tmp_path: Path) -> None:
    """Clicks split at random. Of the 93 or so items a user has not touched, 40 hold a Recall of 0.43 by chance; the
    23 ordinary ones of the user's parity, among them all that is asked for, fit into 40.
    """
    split = {"split": {"RS": [0.7, 0.15, 0.15]}, "order": "RO"}
    settings = {"eval_args": split, "topk": [40], "valid_metric": "Recall@40", "features": {"image": str(world.image)}}
    trained = train_ranker({**world.config, "model": "BM3", **settings}, tmp_path, progress=False)
    assert {"loss.interaction", "loss.content", "loss.reg"} <= trained.history[0].keys()
    assert trained.metrics()["recall@40"] > 0.9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": {}}, "at least one modality: features:"),
        ({"dropout": 1.0}, r"dropout is 1.0, but must lie in \[0, 1\)"),
        ({"cl_weight": "2"}, "cl_weight is '2', but must lie in"),
        ({"n_layers": -1}, "n_layers is -1, but must be a whole number from 0 on"),
        (
            {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}},
            "train_neg_sample_args asks for uniform negatives, but BM3 takes none",
        ),
    ],
)
def test_impossible_settings(world: Checkerboard, change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _load(world, {"image": str(world.image)}, **change).new_ranker()
