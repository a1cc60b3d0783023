"""LATTICE against a dense float64 oracle written from the paper's equations, and on the checkerboard world."""

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
    with_loops,
)
from recsys.recbole.dataset import Dataset
from recsys.recbole.training import train_ranker
from recsys.scoring.counterfactual import Counterfactual
from worlds import Checkerboard, right_parity_first


def _content(w: dict, tables: dict, *, share: float, layers: int = 1) -> torch.Tensor:
    """h = A^L E with A = sum_m alpha_m (share A_raw + (1 - share) A_learned), k = 4."""
    alpha = w["modality_logits"].exp() / w["modality_logits"].exp().sum()
    total = torch.zeros(())
    for weight, (name, (raw, has)) in zip(alpha, tables.items(), strict=True):
        learned = raw @ w[f"projections.{name}.weight"].T + w[f"projections.{name}.bias"]
        total = total + weight * share * neighbour_graph(raw, has, 4)
        total = total + weight * (1 - share) * neighbour_graph(learned, has, 4)
    h = w["item_embedding.weight"]
    for _ in range(layers):
        h = total @ h
    return h


def _unit(h: torch.Tensor) -> torch.Tensor:
    norm = h.norm(dim=1, keepdim=True)
    return h / torch.where(norm > 0, norm, 1.0)


CHANGES = [
    *({"lambda_coeff": share} for share in (0.0, 0.5, 1.0)),
    *({"n_layers": 2}, {"adjacency": "symmetric"}, {"n_ui_layers": 0}),
]


@pytest.mark.parametrize(
    ("modalities", "holes", "change"), [*((*c, {}) for c in CONTENT), *((BOTH, True, c) for c in CHANGES)], ids=str
)
def test_scores_losses_and_gradients_equal_the_oracle(
    world: Checkerboard, tmp_path: Path, modalities: tuple[str, ...], holes: bool, change: dict
) -> None:
    """u . (i + h / |h|), and 0.1 / 2 of the squares of the propagated batch."""
    paths = random_tables(world, tmp_path, modalities, holes=holes)
    config = {**world.config, "model": "LATTICE", "features": paths, "knn_k": 4, "reg_weight": 0.1, **change}
    dataset = Dataset.load(config)
    ranker = dataset.new_ranker()
    torch.nn.init.normal_(ranker.modality_logits, generator=torch.Generator().manual_seed(1))
    w = reading_weights(ranker)
    normalised = symmetric if change.get("adjacency") == "symmetric" else with_loops
    adjacency = normalised(training_clicks(dataset), dataset)
    users, items = lightgcn(adjacency, w, change.get("n_ui_layers", 2))
    h = _content(
        w, tables_by_id(dataset, paths), share=change.get("lambda_coeff", 0.9), layers=change.get("n_layers", 1)
    )
    items = items + _unit(h)

    parts = [table[some] for table, some in zip((users, items, items), BATCH.values(), strict=True)]
    norm = 0.1 * torch.stack([part.square().sum() for part in parts]).sum() / 2 / 4
    assert_equal_to_oracle(ranker, ranker.train().calculate_loss(BATCH), (bpr(*parts).mean(), norm), w)
    assert_scores_equal(ranker, dataset, (users @ items.T).detach())


def test_the_graph_carries_gradient_once_an_epoch_and_is_rebuilt_for_evaluation(world: Checkerboard) -> None:
    config = {**world.config, "model": "LATTICE", "features": {"image": str(world.image)}, "knn_k": 5}
    ranker = Dataset.load(config).new_ranker()
    moved = []
    for step in range(3):
        if step in (0, 2):
            ranker.train()
        ranker.zero_grad()
        torch.stack(ranker.calculate_loss(BATCH)).sum().backward()
        gradient = ranker.projections["image"].weight.grad
        moved.append(gradient is not None and bool(gradient.abs().sum() > 0))
    assert moved == [True, False, True]
    before = ranker.hidden()
    with torch.no_grad():
        ranker.projections.of("image").weight.normal_(generator=torch.Generator().manual_seed(0))
    assert torch.equal(ranker.hidden(), before)
    assert not torch.allclose(ranker.eval().hidden(), before)


def test_a_foreign_feature_gives_the_rebuilt_row(world: Checkerboard, tmp_path: Path) -> None:
    """h_i = (alpha_image (0.9 raw row + 0.1 learned row) + the text row as it was) E; for a hole too; and gradients."""
    paths = random_tables(world, tmp_path, ("image", "text"), holes=True)
    config = {**world.config, "model": "LATTICE", "features": paths, "knn_k": 4}
    dataset = Dataset.load(config)
    ranker = dataset.new_ranker()
    torch.nn.init.normal_(ranker.modality_logits, generator=torch.Generator().manual_seed(1))
    w = {name: value.detach() for name, value in reading_weights(ranker).items()}
    tables = tables_by_id(dataset, paths)
    alpha = w["modality_logits"].softmax(0)
    users, items = lightgcn(with_loops(training_clicks(dataset), dataset), w, 2)
    weight, bias = w["projections.image.weight"], w["projections.image.bias"]
    (image, has), (text, worded) = tables["image"], tables["text"]
    learned_text = text @ w["projections.text.weight"].T + w["projections.text.bias"]
    words = 0.9 * neighbour_graph(text, worded, 4) + 0.1 * neighbour_graph(learned_text, worded, 4)
    chosen = torch.tensor([dataset.item_id(name) for name in ("i3", "w8", "n1")])

    def score(item: int, vector: torch.Tensor) -> torch.Tensor:
        raw = substituted_row(image, has, 4, item, vector)
        learned = substituted_row(image @ weight.T + bias, has, 4, item, weight @ vector + bias)
        h = (alpha[0] * (0.9 * raw + 0.1 * learned) + alpha[1] * words[item]) @ w["item_embedding.weight"]
        return users[5] @ (items[item] + h / h.norm())

    assert_substitution_equal(Counterfactual(ranker), score, chosen)


def test_images_order_items_without_training_clicks(world: Checkerboard, tmp_path: Path) -> None:
    """Each user's first among 40 withheld items has the user's parity: chance is 0.5."""
    settings = {"model": "LATTICE", "features": {"image": str(world.image)}, "knn_k": 5, "lr_decay": None}
    trained = train_ranker({**world.config, **settings}, tmp_path, progress=False)
    assert right_parity_first(world, trained) >= 0.95


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": {}}, "at least one modality: features:"),
        ({"adjacency": "none"}, "adjacency is 'none', but must be one of reference, symmetric"),
        ({"lambda_coeff": 1.5}, r"lambda_coeff is 1.5, but must lie in \[0, 1\]"),
        ({"n_layers": 0}, "n_layers is 0, but must be a whole number from 1 on"),
        ({"n_ui_layers": 0.5}, "n_ui_layers is 0.5, but must be a whole number from 0 on"),
        ({"knn_k": 500}, "500 neighbours per item were asked for, but 101 items"),
        ({"cf_model": "mf"}, "unknown key 'cf_model' for the ranker LATTICE"),
    ],
)
def test_impossible_settings(world: Checkerboard, change: dict, message: str) -> None:
    config = {**world.config, "model": "LATTICE", "features": {"image": str(world.image)}, "knn_k": 5}
    with pytest.raises(ValueError, match=message):
        Dataset.load({**config, **change}).new_ranker()
