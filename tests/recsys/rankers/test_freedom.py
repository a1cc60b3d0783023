"""FREEDOM against a dense float64 oracle written from the paper's equations, and on the checkerboard world."""

from pathlib import Path

import pytest
import torch

from dense import (
    BATCH,
    BOTH,
    CONTENT,
    assert_equal_to_oracle,
    assert_scores_equal,
    assert_substitution_equal,
    bpr,
    lightgcn,
    neighbour_graph,
    random_tables,
    reading_weights,
    substituted_row,
    symmetric,
    tables_by_id,
    training_clicks,
)
from recsys.rankers.freedom import degree_sensitive_draw
from recsys.recbole.dataset import Dataset
from recsys.recbole.training import train_ranker
from recsys.scoring.counterfactual import Counterfactual
from worlds import Checkerboard, right_parity_first

SHARES = {("image",): {"image": 1.0}, BOTH: {"image": 0.1, "text": 0.9}}
CHANGES = [{"edge_weights": "cosine"}, {"n_layers": 2}, {"n_ui_layers": 3}, {"dropout": 0.0}]


def _load(world: Checkerboard, paths: dict[str, str], **change) -> Dataset:
    return Dataset.load({**world.config, "model": "FREEDOM", "features": paths, "knn_k": 4, **change})


@pytest.mark.parametrize(
    ("modalities", "holes", "change"), [*((*c, {}) for c in CONTENT), *((BOTH, True, c) for c in CHANGES)], ids=str
)
def test_scores_losses_and_gradients_equal_the_oracle(
    world: Checkerboard, tmp_path: Path, modalities: tuple[str, ...], holes: bool, change: dict
) -> None:
    """u . (i + h); the loss over the drawn fifth of the edges, the scores over all; 0.5 times BPR of u . T f."""
    paths = random_tables(world, tmp_path, modalities, holes=holes)
    dataset = _load(world, paths, reg_weight=0.5, **change)
    ranker = dataset.new_ranker()
    w, tables = reading_weights(ranker), tables_by_id(dataset, paths)
    total = torch.zeros(())
    for name, (raw, has) in tables.items():
        unit = change.get("edge_weights") != "cosine"
        total = total + SHARES[modalities][name] * neighbour_graph(raw, has, 4, unit=unit)
    h = w["item_embedding.weight"]
    for _ in range(change.get("n_layers", 1)):
        h = total @ h

    clicks = training_clicks(dataset)
    count = 600 if change.get("dropout") == 0.0 else 120
    drawn = degree_sensitive_draw(clicks[0], clicks[1], count, generator=torch.Generator().manual_seed(3))
    layers = change.get("n_ui_layers", 2)
    users, items = lightgcn(symmetric(clicks[:, drawn], dataset), w, layers)
    parts = [table[some] for table, some in zip((users, items + h, items + h), BATCH.values(), strict=True)]
    content = []
    for name, (raw, has) in tables.items():
        projected = raw @ w[f"projections.{name}.weight"].T + w[f"projections.{name}.bias"]
        both = has[BATCH["item_id"]] & has[BATCH["neg_item_id"]]
        content.append((bpr(parts[0], projected[BATCH["item_id"]], projected[BATCH["neg_item_id"]]) * both).sum() / 4)
    expected = bpr(*parts).mean(), 0.5 * torch.stack(content).sum()
    ranker.generator.manual_seed(3)
    assert_equal_to_oracle(ranker, ranker.train().calculate_loss(BATCH), expected, w)
    users, items = lightgcn(symmetric(clicks, dataset), w, layers)
    assert_scores_equal(ranker, dataset, (users @ (items + h).T).detach())


def test_edges_of_popular_nodes_go_first() -> None:
    """u0 has items 0, 1, 2 and u1 has item 0: degrees (3, 1) and (2, 1, 1), so weights (deg_u deg_i)^-1/2 are
    6^-1/2, 3^-1/2, 3^-1/2, 2^-1/2. Their shares of the first draw, within 4 standard errors of 4000 draws.
    """
    users, items = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 1, 2, 0])
    weight = torch.tensor([6.0, 3.0, 3.0, 2.0]).rsqrt()
    generator = torch.Generator().manual_seed(0)
    draws = torch.cat([degree_sensitive_draw(users, items, 1, generator=generator) for _ in range(4000)])
    share, expected = torch.bincount(draws, minlength=4) / 4000, weight / weight.sum()
    assert ((share - expected).abs() < 4 * (expected * (1 - expected) / 4000).sqrt()).all()
    # Without replacement: all four edges, each once; the second draw is proportional to what is left.
    assert sorted(degree_sensitive_draw(users, items, 4, generator=generator).tolist()) == [0, 1, 2, 3]
    pairs = torch.stack([degree_sensitive_draw(users, items, 2, generator=generator) for _ in range(4000)])
    after_3 = pairs[(pairs == 3).any(1)].sum(1) - 3
    first = expected[3] * weight[:3] / weight[:3].sum() + expected[:3] * weight[3] / (weight.sum() - weight[:3])
    actual = torch.bincount(after_3, minlength=3) / 4000
    assert ((actual - first).abs() < 4 * (first * (1 - first) / 4000).sqrt()).all()


def test_each_epoch_draws_its_edges_and_evaluation_uses_all(world: Checkerboard) -> None:
    """600 clicks, 120 of them in an epoch, each in both directions."""
    ranker = _load(world, {"image": str(world.image)}).new_ranker()
    graphs = []
    for seed in (1, 1, 2):
        ranker.generator.manual_seed(seed)
        ranker.train()
        ranker.calculate_loss(BATCH)
        graphs.append(ranker._thinned.matrix)
        ranker.calculate_loss(BATCH)
        assert ranker._thinned.matrix is graphs[-1]
        assert graphs[-1].values().numel() == 240
    first, again, other = (graph.to_dense() for graph in graphs)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert ranker.graph.matrix.values().numel() == 1200


@pytest.mark.parametrize("edge_weights", ["unit", "cosine"])
def test_a_foreign_feature_gives_the_rebuilt_row(world: Checkerboard, tmp_path: Path, edge_weights: str) -> None:
    """h_i = 0.1 times the image row + 0.9 times the text row as it was, times E; for a hole too; and gradients."""
    paths = random_tables(world, tmp_path, ("image", "text"), holes=True)
    dataset = _load(world, paths, edge_weights=edge_weights)
    ranker, unit = dataset.new_ranker(), edge_weights == "unit"
    w = {name: value.detach() for name, value in reading_weights(ranker).items()}
    (image, has), (text, worded) = tables_by_id(dataset, paths).values()
    users, items = lightgcn(symmetric(training_clicks(dataset), dataset), w, 2)
    words = neighbour_graph(text, worded, 4, unit=unit)
    chosen = torch.tensor([dataset.item_id(name) for name in ("i3", "w8", "n1")])

    def score(item: int, vector: torch.Tensor) -> torch.Tensor:
        row = 0.1 * substituted_row(image, has, 4, item, vector, unit=unit) + 0.9 * words[item]
        return users[5] @ (items[item] + row @ w["item_embedding.weight"])

    assert_substitution_equal(Counterfactual(ranker.train()), score, chosen)


def test_unit_edges_have_no_gradient_and_say_so(world: Checkerboard) -> None:
    view = Counterfactual(_load(world, {"image": str(world.image)}).new_ranker())
    arguments = torch.tensor([1]), torch.tensor([2]), torch.ones(1, 8, requires_grad=True)
    with pytest.raises(ValueError, match="train the ranker with edge_weights: cosine, or score without gradient"):
        view.substitute(*arguments)
    with torch.no_grad():
        assert torch.isfinite(view.substitute(*arguments)).all()


def test_modality_weights_are_shares_of_those_present(world: Checkerboard, tmp_path: Path) -> None:
    paths = random_tables(world, tmp_path, ("image", "text"), holes=False)
    weights = {"image": 1, "text": 3, "sound": 96}
    assert _load(world, paths, modality_weights=weights).new_ranker().weights == {"image": 0.25, "text": 0.75}
    silent = _load(world, paths, modality_weights={"image": 1, "text": 0}).new_ranker().eval()
    torch.testing.assert_close(silent.frozen("image").items, silent.embeddings()[1])
    alone = {"sound": paths["image"]}
    assert _load(world, alone).new_ranker().weights == {"sound": 1.0}


def test_images_order_items_without_training_clicks(world: Checkerboard, tmp_path: Path) -> None:
    """Each user's first among 40 withheld items has the user's parity: chance is 0.5."""
    settings = {"model": "FREEDOM", "features": {"image": str(world.image)}, "knn_k": 5}
    trained = train_ranker({**world.config, **settings}, tmp_path, progress=False)
    assert right_parity_first(world, trained) >= 0.95


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edge_weights": "one"}, "edge_weights is 'one', but must be one of unit, cosine"),
        ({"dropout": 1}, r"dropout is 1, but must lie in \[0, 1\)"),
        ({"reg_weight": -0.1}, "reg_weight is -0.1"),
        ({"n_layers": 0}, "n_layers is 0, but must be a whole number from 1 on"),
        ({"knn_k": 500}, "500 neighbours per item were asked for, but 102 items"),
        ({"modality_weights": {"image": 1}}, "modality_weights.text is None, but must be a number from 0 on"),
        ({"modality_weights": {"image": 0, "text": 0}}, "modality_weights of image, text are all 0"),
    ],
)
def test_impossible_settings(world: Checkerboard, tmp_path: Path, change: dict, message: str) -> None:
    paths = random_tables(world, tmp_path, ("image", "text"), holes=False)
    with pytest.raises(ValueError, match=message):
        _load(world, paths, **change).new_ranker()
