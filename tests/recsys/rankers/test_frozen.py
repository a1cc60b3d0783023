"""What every ranker that reads images must keep when one of them is substituted."""

from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from dense import BATCH, BOTH, random_tables
from recsys.features import FeatureTable
from recsys.rankers.modalities import Modalities
from recsys.recbole.dataset import Dataset
from recsys.recbole.models import full_scores
from recsys.scoring.counterfactual import Counterfactual, Method
from worlds import Checkerboard

MICRO = {"model": "MICRO", "knn_k": 4}
RANKERS = [
    {"model": "VBPR"},
    {"model": "FREEDOM", "knn_k": 4},
    {"model": "FREEDOM", "knn_k": 4, "edge_weights": "cosine"},
    {"model": "FREEDOM", "knn_k": 4, "edge_weights": "cosine", "n_layers": 2},
    {"model": "LATTICE", "knn_k": 4},
    {"model": "LATTICE", "knn_k": 4, "lambda_coeff": 0.5, "n_layers": 2},
    {"model": "LATTICE", "knn_k": 4, "lambda_coeff": 0.0},
    MICRO,
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
    shown = ranker.content.mask(modality).nonzero().flatten()
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
    actual = view.substitute(torch.tensor([1, 2]), torch.tensor([3, 4]), features.requires_grad_(differentiable))
    if differentiable:
        actual.sum().backward()
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
    assert torch.equal(again, actual.detach())


@pytest.mark.parametrize("settings", [*RANKERS, {**MICRO, "cf_model": "ngcf", "lambda_coeff": 0.5}], ids=str)
@pytest.mark.parametrize("token", ["i7", "i5"])
def test_exact_is_the_ranker_that_another_table_makes(
    world: Checkerboard, tmp_path: Path, settings: dict, token: str
) -> None:
    """The same weights over a feature file in which the item has the foreign row; "i5" had no image before."""
    dataset = _load(world, tmp_path, settings)
    ranker, item = dataset.new_ranker().eval(), dataset.item_id(token)
    foreign = torch.randn(9, generator=torch.Generator().manual_seed(3))
    users = torch.arange(1, 6)
    actual = Counterfactual(ranker, method="exact").substitute(
        users, torch.full((5,), item), foreign.expand(5, -1).clone()
    )

    paths = random_tables(world, tmp_path, BOTH, holes=True)
    table = FeatureTable.read(paths["image"])
    rows = dict(zip(table.ids, table.values, strict=True)) | {token: foreign}
    changed = tmp_path / "changed.safetensors"
    FeatureTable(tuple(rows), torch.stack([torch.as_tensor(row) for row in rows.values()]).numpy()).write(changed)
    other = Dataset.load({**world.config, **settings, "features": {**paths, "image": str(changed)}}).new_ranker()
    other.load_state_dict(ranker.state_dict())
    torch.testing.assert_close(actual, full_scores(other.eval(), users)[:, item], atol=1e-6, rtol=1e-5)
    inductive = Counterfactual(ranker).substitute(users, torch.full((5,), item), foreign.expand(5, -1).clone())
    # A product, or one layer over degrees that are always k: nothing but the row itself moves.
    same = settings in RANKERS[:2]
    assert torch.allclose(inductive, actual, atol=1e-6, rtol=1e-5) == same


@pytest.mark.parametrize("settings", RANKERS, ids=str)
def test_exact_gives_own_scores_for_own_features(world: Checkerboard, tmp_path: Path, settings: dict) -> None:
    ranker = _load(world, tmp_path, settings).new_ranker().eval()
    items = ranker.content.mask("image").nonzero().flatten()[:6]
    users = torch.arange(1, 7)
    actual = Counterfactual(ranker, method="exact").substitute(users, items, ranker.content.features("image")[items])
    torch.testing.assert_close(actual, full_scores(ranker, users)[users - 1, items], atol=1e-6, rtol=1e-5)


def test_exact_takes_no_inductive_view_and_rebuilds_one_modality(
    world: Checkerboard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of MICRO's two raw graphs the text's is that of the ranker; the image's is built once an item."""
    ranker = _load(world, tmp_path, MICRO).new_ranker()
    built, graph = [], Modalities.graph
    monkeypatch.setattr(type(ranker), "frozen", None)
    view = Counterfactual(ranker, method="exact")

    def counted(content: Modalities, modality: str, k: int, vectors: torch.Tensor | None = None) -> Any:
        built.extend([modality] * (vectors is None))
        return graph(content, modality, k, vectors)

    monkeypatch.setattr(Modalities, "graph", counted)
    view.substitute(torch.tensor([1, 2]), torch.tensor([3, 4]), torch.ones(2, view.feature_dim))
    assert built == ["image", "image"]


@pytest.mark.parametrize("method", get_args(Method))
def test_trained_features_cannot_be_substituted(world: Checkerboard, tmp_path: Path, method: Method) -> None:
    ranker = _load(world, tmp_path, {**MICRO, "train_features": True}).new_ranker()
    with pytest.raises(ValueError, match="train the ranker with train_features: false"):
        Counterfactual(ranker, method=method)


def _losses(ranker) -> tuple[torch.Tensor, ...]:
    if hasattr(ranker, "generator"):
        ranker.generator.manual_seed(4)
    return ranker.train().calculate_loss(BATCH)


@pytest.mark.parametrize("model", ["VBPR", "FREEDOM", "LATTICE"])
def test_unknown_modality(world: Checkerboard, tmp_path: Path, model: str) -> None:
    with pytest.raises(ValueError, match="no modality 'sound', only image, text"):
        Counterfactual(_load(world, tmp_path, {"model": model}).new_ranker(), "sound")
