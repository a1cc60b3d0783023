"""Dense float64 forms of what the rankers are made of, written from the papers' formulas for their oracles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recsys.features import FeatureTable
from recsys.recbole.dataset import Dataset
from recsys.recbole.models import full_scores
from recsys.scoring.counterfactual import Counterfactual
from worlds import Checkerboard

BATCH = {
    "user_id": torch.tensor([2, 3, 4, 2]),
    "item_id": torch.tensor([3, 7, 80, 12]),
    "neg_item_id": torch.tensor([9, 11, 85, 12]),
}
WIDTHS = {"image": 9, "text": 6}
BOTH = ("image", "text")
# Modalities and holes of the tests against an oracle.
CONTENT = [(("image",), False), (("image",), True), (BOTH, False), (BOTH, True)]


def random_tables(world: Checkerboard, folder: Path, modalities: tuple[str, ...], *, holes: bool) -> dict[str, str]:
    """Normal features on disk. With holes, "i5" and "w8" lack the first modality, "n1" and the batch's item 7 all."""
    rng = np.random.default_rng(1)
    items = [name for name in world.parity if name[0] in "iwn"]
    paths = {}
    for position, modality in enumerate(modalities):
        absent = {"n1", "i6"} | ({"i5", "w8"} if position == 0 else set()) if holes else set()
        shown = tuple(name for name in items if name not in absent)
        values = rng.normal(size=(len(shown), WIDTHS[modality])).astype(np.float32)
        paths[modality] = str(folder / f"{modality}.safetensors")
        FeatureTable(shown, values).write(Path(paths[modality]))
    return paths


def tables_by_id(dataset: Dataset, paths: dict[str, str]) -> dict[str, tuple[Tensor, Tensor]]:
    """Features by internal item id, zeros where absent, and who has them, read again from disk."""
    found = {}
    for modality, path in paths.items():
        table = FeatureTable.read(path)
        values = torch.zeros(dataset.n_items, table.values.shape[1], dtype=torch.float64)
        ids = torch.tensor([dataset.item_id(name) for name in table.ids])
        values[ids] = torch.from_numpy(table.values).double()
        found[modality] = values, torch.zeros(dataset.n_items, dtype=torch.bool).index_fill(0, ids, True)
    return found


def reading_weights(ranker: Any) -> dict[str, Tensor]:
    """A float64 copy of every parameter, for gradients of its own."""
    return {name: value.detach().double().requires_grad_() for name, value in ranker.named_parameters()}


def symmetric(clicks: Tensor, dataset: Dataset) -> Tensor:
    """D^-1/2 A D^-1/2 over users, then items."""
    adjacency = _adjacency(clicks, dataset)
    scale = adjacency.sum(1).clamp(min=1).rsqrt()
    return scale[:, None] * adjacency * scale


def with_loops(clicks: Tensor, dataset: Dataset) -> Tensor:
    """D^-1 (A + I) over users, then items."""
    adjacency = _adjacency(clicks, dataset) + torch.eye(dataset.n_users + dataset.n_items, dtype=torch.float64)
    return adjacency / adjacency.sum(1, keepdim=True)


def _adjacency(clicks: Tensor, dataset: Dataset) -> Tensor:
    users, items = clicks
    size = dataset.n_users + dataset.n_items
    adjacency = torch.zeros(size, size, dtype=torch.float64)
    adjacency[users, dataset.n_users + items] = adjacency[dataset.n_users + items, users] = 1
    return adjacency


def training_clicks(dataset: Dataset) -> Tensor:
    """Users and items of the training interactions, shape (2, clicks), by user and then by item."""
    users, items = (torch.from_numpy(side) for side in dataset.interactions.train)
    return torch.stack([users, items])[:, (users * dataset.n_items + items).argsort()]


def lightgcn(adjacency: Tensor, weights: dict[str, Tensor], n_layers: int) -> tuple[Tensor, Tensor]:
    """The mean of E, A E, ..., A^n E, as users and items."""
    layer = torch.cat([weights["user_embedding.weight"], weights["item_embedding.weight"]])
    total = layer
    for _ in range(n_layers):
        layer = adjacency @ layer
        total = total + layer
    n_users = len(weights["user_embedding.weight"])
    return (total / (n_layers + 1))[:n_users], (total / (n_layers + 1))[n_users:]


def neighbours(vectors: Tensor, present: Tensor, k: int, *, unit: bool = False) -> tuple[Tensor, Tensor]:
    """The top k cosines of every row (or ones in their places), and their row sums."""
    length = torch.where(present, vectors.norm(dim=1), 1.0)
    cosines = (vectors / length[:, None]) @ (vectors / length[:, None]).T
    candidates = cosines.masked_fill(~(present[:, None] & present), -torch.inf)
    chosen = torch.zeros_like(cosines).scatter(1, candidates.topk(k).indices, 1.0) * present[:, None]
    kept = chosen if unit else chosen * cosines
    return kept, kept.sum(1)


def neighbour_graph(vectors: Tensor, present: Tensor, k: int, *, unit: bool = False) -> Tensor:
    """deg_i^-1/2 w_ij deg_j^-1/2 with row sums as degrees."""
    kept, degree = neighbours(vectors, present, k, unit=unit)
    scale = torch.where(present, degree, 1.0).rsqrt()
    return scale[:, None] * kept * scale


def substituted_row(
    vectors: Tensor, present: Tensor, k: int, item: int, vector: Tensor, *, unit: bool = False
) -> Tensor:
    """Row `item` of a graph built from scratch with its new vector, the neighbours' degrees as they were."""
    degree = neighbours(vectors, present, k, unit=unit)[1].clone()
    changed, shown = vectors.clone(), present.clone()
    changed[item], shown[item] = vector, True
    kept, after = neighbours(changed, shown, k, unit=unit)
    degree[item] = after[item]
    return kept[item] / (degree[item] * torch.where(degree > 0, degree, 1.0)).sqrt()


def bpr(users: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """-log sigmoid(u . p - u . n) of every triple."""
    return -torch.log(torch.sigmoid((users * positive).sum(1) - (users * negative).sum(1)))


def assert_equal_to_oracle(
    ranker: Any, losses: tuple[Tensor, ...], expected: tuple[Tensor, ...], weights: dict[str, Tensor]
) -> None:
    """Every part of the loss, and the gradient of their sum in every parameter, to 1e-5."""
    for found, wanted in zip(losses, expected, strict=True):
        torch.testing.assert_close(found.double(), wanted, atol=1e-5, rtol=1e-5)
    torch.stack([loss.sum() for loss in losses]).sum().backward()
    torch.stack([loss.sum() for loss in expected]).sum().backward()
    for name, parameter in ranker.named_parameters():
        found, wanted = (torch.zeros_like(p) if p.grad is None else p.grad for p in (parameter, weights[name]))
        assert torch.isfinite(found).all(), name
        torch.testing.assert_close(found.double(), wanted, atol=1e-5, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def assert_substitution_equal(view: Counterfactual, score: Callable[[int, Tensor], Tensor], items: Tensor) -> None:
    """User 5's scores of the items under random images, and their gradients, as the oracle `score(item, image)`."""
    vectors = torch.randn(len(items), WIDTHS["image"], generator=torch.Generator().manual_seed(2)).requires_grad_()
    exact = vectors.detach().double().requires_grad_()
    expected = torch.stack([score(int(item), vector) for item, vector in zip(items, exact, strict=True)])
    with torch.set_grad_enabled(expected.requires_grad):
        found = view.substitute(torch.full_like(items, 5), items, vectors)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=0)
    if expected.requires_grad:
        (wanted,) = torch.autograd.grad(expected.sum(), exact)
        (gradient,) = torch.autograd.grad(found.sum(), vectors)
        torch.testing.assert_close(gradient.double(), wanted, atol=1e-5, rtol=1e-5)


def assert_scores_equal(ranker: Any, dataset: Dataset, expected: Tensor) -> None:
    """All users and items but padding, to 1e-5."""
    found = full_scores(ranker.eval(), torch.arange(dataset.n_users))
    torch.testing.assert_close(found[1:, 1:].double(), expected[1:, 1:], atol=1e-5, rtol=1e-5)
