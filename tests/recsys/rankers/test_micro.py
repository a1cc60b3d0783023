"""MICRO against a dense float64 oracle written from the formulas, and on the checkerboard world."""

import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch.nn import functional

from dense import (
    BATCH,
    assert_equal_to_oracle,
    assert_scores_equal,
    bpr,
    lightgcn,
    neighbour_graph,
    reading_weights,
    symmetric,
    tables_by_id,
    training_clicks,
    with_loops,
)
from recsys.features import FeatureTable
from recsys.rankers import micro
from recsys.recbole.dataset import Dataset
from recsys.recbole.models import full_scores
from recsys.recbole.training import TrainedRanker, train_ranker
from worlds import Checkerboard, right_parity_first, withheld_scores


def _ngcf(w: dict, adjacency: torch.Tensor) -> torch.Tensor:
    """LeakyReLU(W1 m + b1) + LeakyReLU(W2 (x * m) + b2) twice; unit vectors enter the mean."""
    state = torch.cat([w["user_embedding.weight"], w["item_embedding.weight"]])
    layers = [state]
    for n in range(2):
        messages = adjacency @ state
        one, two = (f"ngcf.{n}.{part}" for part in ("plain", "product"))
        first = messages @ w[f"{one}.weight"].T + w[f"{one}.bias"]
        second = (state * messages) @ w[f"{two}.weight"].T + w[f"{two}.bias"]
        state = torch.stack([torch.where(x > 0, x, 0.01 * x) for x in (first, second)]).sum(0)
        layers.append(state / state.norm(dim=1, keepdim=True).clamp_min(1e-12))
    return torch.stack(layers).mean(0)


def _collaborative(w: dict, dataset: Dataset, case: "Case") -> tuple[torch.Tensor, torch.Tensor]:
    adjacency = {"reference": with_loops, "symmetric": symmetric}[case.adjacency](training_clicks(dataset), dataset)
    if case.cf_model != "ngcf":
        return lightgcn(adjacency, w, {"lightgcn": 2, "mf": 0}[case.cf_model])
    final = _ngcf(w, adjacency)
    return final[: dataset.n_users], final[dataset.n_users :]


def _oracle(ranker, dataset: Dataset, paths: dict[str, str], case: "Case"):
    """Scores and the three losses in float64, from a copy of the weights; returns the copy for its gradients."""
    w = reading_weights(ranker)
    user_final, item_collaborative = _collaborative(w, dataset, case)

    hidden, masks = [], []
    for name, (raw, present) in tables_by_id(dataset, paths).items():
        features = w[f"trained.{name}"] if case.train_features else raw
        learned = features @ w[f"projections.{name}.weight"].T + w[f"projections.{name}.bias"]
        graph = case.share * neighbour_graph(raw, present, 4)
        graph = graph + (1 - case.share) * neighbour_graph(learned, present, 4)
        state = w["item_embedding.weight"]
        for _ in range(case.item_layers):
            state = graph @ state
        hidden.append(state)
        masks.append(present)
    inner = [torch.tanh(h @ w["fusion.hidden.weight"].T + w["fusion.hidden.bias"]) for h in hidden]
    logits = [t @ w["fusion.query.weight"].T for t in inner]
    attention = [torch.where(m[:, None], logit.exp(), 0.0) for m, logit in zip(masks, logits, strict=True)]
    total = torch.stack(attention).sum(0)
    fused = torch.stack([a * h for a, h in zip(attention, hidden, strict=True)]).sum(0) / torch.where(
        total > 0, total, 1.0
    )
    norm = fused.norm(dim=1, keepdim=True)
    item_final = item_collaborative + fused / torch.where(norm > 0, norm, 1.0)

    user, positive = user_final[BATCH["user_id"]], item_final[BATCH["item_id"]]
    negative = item_final[BATCH["neg_item_id"]]
    reg = 1e-5 * (torch.stack([user, positive, negative]) ** 2).sum() / 2 / len(user)
    contrastive = torch.zeros(())
    for h, mask in zip(hidden, masks, strict=True):
        one, two = functional.normalize(h[mask], dim=1), functional.normalize(fused[mask], dim=1)
        own, other = (one @ one.T / 0.5).exp(), (one @ two.T / 0.5).exp()
        bottom = own.sum(1) + other.sum(1) - own.diagonal()
        contrastive = contrastive - torch.log(other.diagonal() / bottom).mean()
    return user_final @ item_final.T, (bpr(user, positive, negative).mean(), reg, 0.03 * contrastive), w


class Case(NamedTuple):
    modalities: int
    cf_model: str
    adjacency: str
    share: float
    item_layers: int
    train_features: bool


CASES = [
    Case(*values)
    for values in itertools.product(
        (1, 2, 3), ("lightgcn", "mf", "ngcf"), ("reference", "symmetric"), (0.0, 0.5, 0.9, 1.0), (1, 2), (False, True)
    )
]


@pytest.fixture(scope="module")
def tables(world: Checkerboard, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Three modalities of other widths: one item has none of them, two lack one."""
    rng, folder = np.random.default_rng(1), tmp_path_factory.mktemp("tables")
    names = [name for name in world.parity if name[0] in "iwn" and name != "n0"]
    without = {"image": ("n1", "i5"), "text": (), "audio": ("i5",)}
    for width, (modality, lack) in enumerate(without.items(), start=6):
        ids = tuple(name for name in names if name not in lack)
        table = FeatureTable(ids, rng.normal(size=(len(ids), width)).astype(np.float32))
        table.write(folder / f"{modality}.safetensors")
    return {modality: str(folder / f"{modality}.safetensors") for modality in without}


@pytest.mark.parametrize("case", CASES[::7], ids=str)  # 7 shares no factor with any choice: every pair occurs
def test_scores_losses_and_gradients_equal_the_oracle(world: Checkerboard, tables: dict, case: Case) -> None:
    settings = {
        "model": "MICRO",
        "features": dict(list(tables.items())[: case.modalities]),
        "knn_k": 4,
        "anchors": "all",
        "cf_model": case.cf_model,
        "adjacency": case.adjacency,
        "lambda_coeff": case.share,
        "n_layers": case.item_layers,
        "train_features": case.train_features,
        "message_dropout": 0.0,
    }
    dataset = Dataset.load({**world.config, **settings})
    ranker = dataset.new_ranker()
    scores, expected, weights = _oracle(ranker, dataset, settings["features"], case)
    assert_equal_to_oracle(ranker, ranker.train().calculate_loss(BATCH), expected, weights)
    assert_scores_equal(ranker, dataset, scores)


@pytest.mark.parametrize("change", [{}, {"cf_model": "mf"}, {"n_layers": 2}, {"negatives": 20, "anchors": 5}])
def test_the_subgraph_of_a_batch_gives_the_losses_of_the_whole_graph(
    world: Checkerboard, tables: dict, change: dict
) -> None:
    """With fanout "all", from an epoch's second batch on (the first moves the learned graph and reads everything)."""
    batch = {"user_id": [2, 3, 2], "item_id": [3, 7, 80], "neg_item_id": [9, 3, 85]}
    batch = {name: torch.tensor(ids) for name, ids in batch.items()}
    actual = []
    for fanout in (None, "all"):
        settings = {"model": "MICRO", "features": tables, "knn_k": 4, "fanout": fanout, **change}
        ranker = Dataset.load({**world.config, **settings}).new_ranker().train()
        ranker.calculate_loss(batch)
        losses = torch.stack(ranker.calculate_loss(batch))
        losses.sum().backward()
        actual.append([losses, *(p.grad for p in ranker.parameters() if p.grad is not None)])
    assert len(actual[0]) == len(actual[1])
    for one, other in zip(*actual, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_training_on_subgraphs_draws_and_ends_alike(micro_config: dict, tmp_path: Path) -> None:
    """Three epochs of five batches: reading a part takes nothing from the generator that anchors are drawn from."""
    config = {**micro_config, "epochs": 3, "anchors": 16, "negatives": 30}
    whole, part = (
        train_ranker({**config, "fanout": fanout}, tmp_path / str(fanout), progress=False) for fanout in (None, "all")
    )
    for one, other in zip(whole.history, part.history, strict=True):
        assert one["loss.contrastive"] == pytest.approx(other["loss.contrastive"], rel=1e-5)
    users = torch.arange(1, 61)
    torch.testing.assert_close(full_scores(part.ranker, users), full_scores(whole.ranker, users), atol=1e-5, rtol=1e-4)


def test_sampled_neighbours_train_as_well(world: Checkerboard, micro_config: dict, tmp_path: Path) -> None:
    """The settings for very large catalogues, on the world where chance is 0.5."""
    config = {**micro_config, "fanout": 3, "negatives": 30, "anchors": 16}
    assert right_parity_first(world, train_ranker(config, tmp_path, progress=False)) >= 0.95


def test_images_order_items_without_training_clicks(world: Checkerboard, trained_micro: TrainedRanker) -> None:
    """Each user's first among 40 withheld items has the user's parity: chance is 0.5."""
    assert right_parity_first(world, trained_micro) >= 0.95


def test_lightgcn_is_at_chance(world: Checkerboard, tmp_path: Path) -> None:
    """A right withheld item is above a wrong one half of the time: 20 x 20 pairs of random embeddings that all users
    of a parity agree on have a standard error of sqrt(41 / 12 / 400) = 0.092, the mean of 6 seeds 0.038.
    """
    shares = []
    for seed in range(6):
        config = {**world.config, "model": "LightGCN", "seed": seed, "epochs": 5}
        trained = train_ranker(config, tmp_path / str(seed), progress=False)
        scores, right = withheld_scores(world, trained)
        pairs = [(s[r][:, None] > s[~r][None]).float().mean() for s, r in zip(scores, right, strict=True)]
        shares.append(float(torch.stack(pairs).mean()))
    assert 0.38 < np.mean(shares) < 0.62


def test_items_without_any_interaction_or_image_are_scored(world: Checkerboard, trained_micro: TrainedRanker) -> None:
    dataset, ranker = trained_micro.dataset, trained_micro.ranker
    bare = dataset.item_id("n1")
    assert not ranker.present[:, bare].any()
    scores = full_scores(ranker, torch.arange(1, dataset.n_users))
    assert torch.isfinite(scores[:, 1:]).all()
    users, _ = ranker.embeddings()
    # Without modality and clicks only the item's own embedding is left (D^-1 (A + I) maps it to itself).
    torch.testing.assert_close(scores[:, bare], users[1:] @ ranker.item_embedding.weight[bare])


def test_without_weight_the_contrastive_loss_costs_nothing(micro_config: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    ranker = Dataset.load({**micro_config, "cl_weight": 0.0}).new_ranker()
    batch = {"user_id": torch.tensor([1, 2]), "item_id": torch.tensor([1, 2]), "neg_item_id": torch.tensor([3, 4])}
    monkeypatch.setattr(micro, "contrastive_loss", pytest.fail)
    assert ranker.calculate_loss(batch)[2] == 0


def test_without_weight_a_batch_reads_its_own_items_alone(micro_config: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    """From an epoch's second batch on: two items with their negatives are four rows; with weight, all anchors' too."""
    batch = {"user_id": torch.tensor([1, 2]), "item_id": torch.tensor([1, 2]), "neg_item_id": torch.tensor([3, 4])}
    for weight, least, most in ((0.0, 4, 4), (0.03, 16, 102)):
        config = {**micro_config, "cl_weight": weight, "fanout": 3, "anchors": 16, "negatives": 30}
        ranker, read = Dataset.load(config).new_ranker(), []
        hidden = ranker._hidden_at
        monkeypatch.setattr(ranker, "_hidden_at", lambda rows, of=hidden, to=read: to.append(len(rows)) or of(rows))
        for _ in range(2):
            ranker.calculate_loss(batch)
        assert all(least <= rows <= most for rows in read)
        assert len(read) == 2


def test_learned_graph_carries_gradient_once_an_epoch(micro_config: dict) -> None:
    ranker = Dataset.load(micro_config).new_ranker()
    batch = {"user_id": torch.tensor([1, 2]), "item_id": torch.tensor([1, 2]), "neg_item_id": torch.tensor([3, 4])}
    moved = []
    for step in range(3):
        if step in (0, 2):
            ranker.train()
        ranker.zero_grad()
        torch.stack(ranker.calculate_loss(batch)).sum().backward()
        gradient = ranker.projections["image"].weight.grad
        moved.append(gradient is not None and bool(gradient.abs().sum() > 0))
    assert moved == [True, False, True]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": {}}, "at least one modality"),
        ({"cf_model": "ngfc"}, "cf_model is 'ngfc', but must be one of lightgcn, mf, ngcf"),
        ({"adjacency": "none"}, "adjacency is 'none', but must be one of reference, symmetric"),
        ({"lambda_coeff": 1.5}, r"lambda_coeff is 1.5, but must lie in \[0, 1\]"),
        ({"anchors": 0}, "anchors is 0"),
        ({"negatives": "some"}, "negatives is 'some', but must be a whole number from 1 on or 'all'"),
        ({"n_layers": 0}, "n_layers is 0"),
        ({"fanout": 0}, "fanout is 0"),
        ({"temperature": 0}, "temperature is 0, but must be a number above 0"),
        ({"fanout": 5, "cf_model": "ngcf"}, "fanout goes with cf_model lightgcn or mf"),
        ({"knn_k": 500}, "500 neighbours per item were asked for, but 101 items"),
    ],
)
def test_impossible_settings(micro_config: dict, change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Dataset.load({**micro_config, **change}).new_ranker()


@pytest.mark.parametrize(
    "change",
    [
        {"cf_model": "mf"},
        {"adjacency": "symmetric"},
        {"n_ui_layers": 1},
        {"lambda_coeff": 0.5},
        {"n_layers": 2},
        {"cf_model": "ngcf"},
    ],
)
def test_every_setting_moves_the_scores(micro_config: dict, change: dict) -> None:
    dataset = Dataset.load({**micro_config, **change})
    plain = Dataset.load(micro_config).new_ranker().eval()
    users = torch.arange(1, 5)
    assert not torch.allclose(full_scores(dataset.new_ranker().eval(), users)[:, 1:], full_scores(plain, users)[:, 1:])
