"""MICRO against a dense float64 oracle written from the formulas, and on the checkerboard world."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from recsys.features import FeatureTable
from recsys.recbole import Dataset, full_scores
from recsys.training import TrainedRanker, train_ranker
from worlds import Checkerboard, right_parity_first, withheld_scores


def _dense_graph(vectors: torch.Tensor, present: torch.Tensor, k: int) -> torch.Tensor:
    unit = vectors / vectors.norm(dim=1, keepdim=True)
    similarity = (unit @ unit.T).masked_fill(~(present[:, None] & present), -torch.inf)
    mask = torch.zeros_like(similarity).scatter(1, similarity.topk(k).indices, 1.0) * present[:, None]
    kept = torch.where(mask > 0, similarity, 0.0)
    scale = torch.where(present, kept.sum(1), torch.ones(())).rsqrt()
    return scale[:, None] * kept * scale


def _oracle(ranker, dataset: Dataset, tables: dict[str, torch.Tensor], batch: dict, *, k: int, share: float):
    """Scores and the two data losses, in float64, from a copy of the weights; returns the copy for its gradients."""
    w = {name: value.detach().double().requires_grad_() for name, value in ranker.named_parameters()}
    users, items = (torch.from_numpy(side) for side in dataset.interactions.train)
    n_users, size = dataset.n_users, dataset.n_users + dataset.n_items
    adjacency = torch.eye(size, dtype=torch.float64)
    adjacency[users, n_users + items] = adjacency[n_users + items, users] = 1
    adjacency = adjacency / adjacency.sum(1, keepdim=True)  # D^-1 (A + I)
    start = torch.cat([w["user_embedding.weight"], w["item_embedding.weight"]])
    final = (start + adjacency @ start + adjacency @ adjacency @ start) / 3

    hidden, masks = [], []
    for name, raw in tables.items():
        present = raw.abs().sum(1) > 0
        learned = raw @ w[f"projections.{name}.weight"].T + w[f"projections.{name}.bias"]
        graph = share * _dense_graph(raw + 1e-30, present, k) + (1 - share) * _dense_graph(learned, present, k)
        hidden.append(graph @ w["item_embedding.weight"])
        masks.append(present)
    inner = [torch.tanh(h @ w["fusion.hidden.weight"].T + w["fusion.hidden.bias"]) for h in hidden]
    logits = [t @ w["fusion.query.weight"].T for t in inner]
    attention = [torch.where(m[:, None], logit.exp(), 0.0) for m, logit in zip(masks, logits, strict=True)]
    total = torch.stack(attention).sum(0)
    fused = torch.stack([a * h for a, h in zip(attention, hidden, strict=True)]).sum(0) / torch.where(
        total > 0, total, 1.0
    )
    norm = fused.norm(dim=1, keepdim=True)
    item_final = final[n_users:] + fused / torch.where(norm > 0, norm, 1.0)
    user_final = final[:n_users]

    user = user_final[batch["user_id"]]
    positive, negative = item_final[batch["item_id"]], item_final[batch["neg_item_id"]]
    bpr = -torch.log(torch.sigmoid((user * positive).sum(1) - (user * negative).sum(1))).mean()
    contrastive = torch.zeros(())
    for h, mask in zip(hidden, masks, strict=True):
        one, two = functional.normalize(h[mask], dim=1), functional.normalize(fused[mask], dim=1)
        own, other = (one @ one.T / 0.5).exp(), (one @ two.T / 0.5).exp()
        bottom = own.sum(1) + other.sum(1) - own.diagonal()
        contrastive = contrastive - torch.log(other.diagonal() / bottom).mean()
    return user_final @ item_final.T, bpr, 0.03 * contrastive, w


@pytest.mark.parametrize("share", [0.0, 0.9, 1.0])
def test_scores_losses_and_gradients_equal_the_oracle(world: Checkerboard, tmp_path: Path, share: float) -> None:
    """Two modalities, one item with only text, one with none."""
    rng = np.random.default_rng(1)
    text = tmp_path / "text.safetensors"
    names = [name for name in world.parity if name[0] in "iwn" and name != "n0"]
    FeatureTable(tuple(names), rng.normal(size=(len(names), 6)).astype(np.float32)).write(text)
    image = tmp_path / "image.safetensors"
    some = [name for name in names if name not in ("n1", "i5")]
    FeatureTable(tuple(some), rng.normal(size=(len(some), 9)).astype(np.float32)).write(image)
    paths = {"image": str(image), "text": str(text)}
    settings = {"model": "MICRO", "features": paths, "knn_k": 4, "lambda_coeff": share, "anchors": "all"}
    dataset = Dataset.load({**world.config, **settings})
    ranker = dataset.new_ranker()
    tables = {name: ranker.features(name).double() for name in ranker.modalities}
    triples = {"user_id": [2, 3, 4], "item_id": [3, 7, 80], "neg_item_id": [9, 11, 85]}
    batch = {name: torch.tensor(ids) for name, ids in triples.items()}

    scores, bpr, contrastive, weights = _oracle(ranker, dataset, tables, batch, k=4, share=share)
    losses = ranker.train().calculate_loss(batch)
    torch.testing.assert_close(losses[0].double(), bpr, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(losses[2].double(), contrastive, atol=1e-5, rtol=1e-5)

    (losses[0] + losses[2]).backward()
    (bpr + contrastive).backward()
    for name, parameter in ranker.named_parameters():
        found = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        wanted = weights[name].grad if weights[name].grad is not None else torch.zeros_like(weights[name])
        torch.testing.assert_close(found.double(), wanted, atol=1e-5, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
    found = full_scores(ranker.eval(), torch.arange(dataset.n_users))[:, 1:]
    torch.testing.assert_close(found.double(), scores[:, 1:], atol=1e-5, rtol=1e-5)


def test_images_decide_where_clicks_are_silent(world: Checkerboard, trained_micro: TrainedRanker) -> None:
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
        ({"cf_model": "ngfc"}, "cf_model is 'ngfc', but must be one of lightgcn, mf"),
        ({"adjacency": "none"}, "adjacency is 'none', but must be one of reference, symmetric"),
        ({"lambda_coeff": 1.5}, r"lambda_coeff is 1.5, but must lie in \[0, 1\]"),
        ({"anchors": 0}, "anchors is 0"),
        ({"n_layers": 0}, "n_layers is 0"),
        ({"knn_k": 500}, "500 neighbours per item were asked for, but 101 items"),
    ],
)
def test_impossible_settings(micro_config: dict, change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Dataset.load({**micro_config, **change}).new_ranker()


@pytest.mark.parametrize(
    "change",
    [{"cf_model": "mf"}, {"adjacency": "symmetric"}, {"n_ui_layers": 1}, {"lambda_coeff": 0.5}, {"n_layers": 2}],
)
def test_every_setting_moves_the_scores(micro_config: dict, change: dict) -> None:
    dataset = Dataset.load({**micro_config, **change})
    plain = Dataset.load(micro_config).new_ranker().eval()
    users = torch.arange(1, 5)
    assert not torch.allclose(full_scores(dataset.new_ranker().eval(), users)[:, 1:], full_scores(plain, users)[:, 1:])
