"""What every ranker that reads images must keep when one of them is substituted."""

from pathlib import Path

import pytest
import torch

from dense import BATCH, BOTH, random_tables
from recsys.counterfactual import Counterfactual
from recsys.recbole import Dataset, full_scores
from worlds import Checkerboard

RANKERS = [
    {"model": "VBPR"},
    {"model": "FREEDOM", "knn_k": 4},
    {"model": "FREEDOM", "knn_k": 4, "edge_weights": "cosine"},
    {"model": "FREEDOM", "knn_k": 4, "edge_weights": "cosine", "n_layers": 2},
    {"model": "LATTICE", "knn_k": 4},
    {"model": "LATTICE", "knn_k": 4, "lambda_coeff": 0.5, "n_layers": 2},
    {"model": "LATTICE", "knn_k": 4, "lambda_coeff": 0.0},
]
DIFFERENTIABLE = [settings for settings in RANKERS if settings["model"] != "FREEDOM" or "edge_weights" in settings]


def _load(world: Checkerboard, folder: Path, settings: dict, modalities: tuple[str, ...] = BOTH) -> Dataset:
    paths = random_tables(world, folder, modalities, holes=True)
    return Dataset.load({**world.config, **settings, "features": paths})


@pytest.mark.parametrize("settings", RANKERS, ids=str)
@pytest.mark.parametrize(("modalities", "modality"), [(BOTH, "image"), (BOTH, "text"), (("image",), "image")])
def test_own_features_give_the_own_score(
    world: Checkerboard, tmp_path: Path, settings: dict, modalities: tuple[str, ...], modality: str
) -> None:
    dataset = _load(world, tmp_path, settings, modalities)
    ranker = dataset.new_ranker().eval()
    users = torch.arange(1, dataset.n_users)
    original = full_scores(ranker, users)
    view = Counterfactual(ranker, modality)
    torch.testing.assert_close(view.scores(users), original, atol=1e-5, rtol=0)
    shown = ranker.content.has(modality).nonzero().flatten()
    features = ranker.content.features(modality)[shown].expand(len(users), -1, -1)
    lists = view.substitute_lists(users, shown.expand(len(users), -1), features)
    torch.testing.assert_close(lists, original[:, shown], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("settings", "mode"), [(settings, True) for settings in RANKERS] + [(RANKERS[-1], False)])
def test_the_ranker_stays_bit_identical(world: Checkerboard, tmp_path: Path, settings: dict, mode: bool) -> None:
    ranker = _load(world, tmp_path, settings).new_ranker()
    before = {name: value.clone() for name, value in ranker.state_dict().items()}
    scores = full_scores(ranker.eval(), torch.arange(1, 4)).clone()
    loss = [part.clone() for part in _losses(ranker)]
    ranker.train(mode)
    state, drawn = torch.get_rng_state(), ranker.generator.get_state() if hasattr(ranker, "generator") else None
    view = Counterfactual(ranker)
    features = torch.randn(2, 9, generator=torch.Generator().manual_seed(0))
    differentiable = settings in DIFFERENTIABLE
    found = view.substitute(torch.tensor([1, 2]), torch.tensor([3, 4]), features.requires_grad_(differentiable))
    if differentiable:
        found.sum().backward()
    assert ranker.training == mode
    assert all(parameter.grad is None for parameter in ranker.parameters())
    assert all(parameter.requires_grad for parameter in ranker.parameters())
    assert all(torch.equal(before[name], value) for name, value in ranker.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert drawn is None or torch.equal(ranker.generator.get_state(), drawn)
    assert torch.equal(full_scores(ranker.eval(), torch.arange(1, 4)), scores)
    assert all(torch.equal(one, two) for one, two in zip(_losses(ranker), loss, strict=True))
    # What was taken stays what it was when the ranker goes on.
    with torch.no_grad():
        for parameter in ranker.parameters():
            parameter.add_(1)
    with torch.no_grad():
        again = view.substitute(torch.tensor([1, 2]), torch.tensor([3, 4]), features)
    assert torch.equal(again, found.detach())


def _losses(ranker) -> tuple[torch.Tensor, ...]:
    if hasattr(ranker, "generator"):
        ranker.generator.manual_seed(4)
    return ranker.train().calculate_loss(BATCH)


@pytest.mark.parametrize("model", ["VBPR", "FREEDOM", "LATTICE"])
def test_unknown_modality(world: Checkerboard, tmp_path: Path, model: str) -> None:
    with pytest.raises(ValueError, match="no modality 'sound', only image, text"):
        Counterfactual(_load(world, tmp_path, {"model": model}).new_ranker(), "sound")
