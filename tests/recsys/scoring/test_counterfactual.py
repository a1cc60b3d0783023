from types import SimpleNamespace
from typing import get_args

import jaxtyping
import pytest
import torch

from recsys.graphs.item_graph import item_graph
from recsys.recbole.dataset import Dataset
from recsys.recbole.models import full_scores
from recsys.recbole.training import TrainedRanker
from recsys.scoring.counterfactual import Counterfactual, Method
from worlds import Checkerboard


@pytest.fixture
def counterfactual(trained_micro: TrainedRanker) -> Counterfactual:
    return Counterfactual(trained_micro.ranker, "image")


@pytest.mark.parametrize("layers", [1, 2])
def test_own_features_give_the_own_score(micro_config: dict, layers: int) -> None:
    dataset = Dataset.load({**micro_config, "n_layers": layers})
    ranker = dataset.new_ranker().eval()
    users = torch.arange(1, dataset.n_users)
    original = full_scores(ranker, users)
    shown = ranker.present[0].nonzero().flatten()
    view = Counterfactual(ranker)
    features = ranker.features("image")[shown].expand(len(users), -1, -1)
    lists = view.substitute_lists(users, shown.expand(len(users), -1), features)
    torch.testing.assert_close(lists, original[:, shown], atol=1e-5, rtol=0)
    torch.testing.assert_close(view.scores(users), original, atol=1e-5, rtol=0)


def _exact_row(vectors: torch.Tensor, present: torch.Tensor, item: int, vector: torch.Tensor, k: int) -> torch.Tensor:
    """Row `item` of the graph rebuilt from scratch with the new vector, the neighbours' degrees as they were."""
    before = item_graph(vectors, present, k).degree
    changed, shown = vectors.clone(), present.clone()
    changed[item], shown[item] = vector, True
    graph = item_graph(changed, shown, k)
    here = int((graph.rows == item).nonzero())
    degree = before.clone()
    degree[item] = graph.degree[item]
    columns, weights = graph.columns[here], graph.weights[here]
    row = torch.zeros(len(vectors))
    row[columns] = degree[item].rsqrt() * weights * degree[columns].rsqrt()
    return row


def test_foreign_features_give_the_row_of_an_exact_rebuild(trained_micro: TrainedRanker, rng: torch.Generator) -> None:
    """Raw and learned graph, for an item with an image, for one without, and for padding never as a neighbour."""
    ranker, dataset = trained_micro.ranker, trained_micro.dataset
    frozen = ranker.frozen("image")
    items = torch.tensor([dataset.item_id(name) for name in ("i3", "w5", "n0", "n1")])
    features = torch.randn(4, frozen.feature_dim, generator=rng)
    graphs = [open_.graph for open_ in frozen.graphs]
    present, k = ranker.present[0], graphs[0].k
    projection = ranker.projections["image"].requires_grad_(False)
    tables = (ranker.features("image"), projection(ranker.features("image")))
    for graph, table, vectors in zip(graphs, tables, (features, projection(features)), strict=True):
        columns, weights = graph.substituted_rows(items, vectors)
        rows = torch.zeros(4, dataset.n_items).scatter_add(1, columns, weights)
        expected = [_exact_row(table, present, int(i), v, k) for i, v in zip(items, vectors, strict=True)]
        torch.testing.assert_close(rows, torch.stack(expected), atol=1e-6, rtol=1e-5)
    projection.requires_grad_(True)


def test_score_is_assembled_from_those_rows(trained_micro: TrainedRanker, rng: torch.Generator) -> None:
    """One modality: attention is 1, so the item is i_cf + h / |h| with h = (0.9 raw row + 0.1 learned row) E."""
    ranker, dataset = trained_micro.ranker, trained_micro.dataset
    item, user = dataset.item_id("i4"), 3
    vector = torch.randn(1, 8, generator=rng)
    with torch.no_grad():
        table, learned = ranker.features("image"), ranker.projections["image"](ranker.features("image"))
        rows = (
            _exact_row(table, ranker.present[0], item, vector[0], 5),
            _exact_row(learned, ranker.present[0], item, ranker.projections["image"](vector)[0], 5),
        )
        hidden = (0.9 * rows[0] + 0.1 * rows[1]) @ ranker.item_embedding.weight
        users, items = ranker.collaborative()
        expected = users[user] @ (items[item] + hidden / hidden.norm())
    actual = Counterfactual(ranker).substitute(torch.tensor([user]), torch.tensor([item]), vector)
    torch.testing.assert_close(actual[0], expected, atol=1e-5, rtol=0)


def test_right_parity_raises_the_score_of_an_item(world: Checkerboard, trained_micro: TrainedRanker) -> None:
    """An even user's score of any withheld item is higher under an even image than under an odd one."""
    dataset, view = trained_micro.dataset, Counterfactual(trained_micro.ranker)
    table = trained_micro.ranker.features("image")
    even, odd = table[dataset.item_id("i0")], table[dataset.item_id("i1")]
    items = torch.tensor([dataset.item_id(name) for name in (*world.withheld, "n1")])
    user = torch.full_like(items, dataset.user_id("u2"))
    right, wrong = (view.substitute(user, items, vector.expand(len(items), -1)) for vector in (even, odd))
    assert (right > wrong).all()


def test_gradient_equals_finite_differences(counterfactual: Counterfactual, rng: torch.Generator) -> None:
    users, items = torch.tensor([1, 2, 3]), torch.tensor([4, 5, 6])
    features = torch.randn(3, 8, generator=rng).requires_grad_()
    (gradient,) = torch.autograd.grad(counterfactual.substitute(users, items, features).sum(), features)
    direction = torch.randn(3, 8, generator=rng)
    step = 1e-2
    with torch.no_grad():
        up = counterfactual.substitute(users, items, features + step * direction)
        down = counterfactual.substitute(users, items, features - step * direction)
    torch.testing.assert_close((up - down) / (2 * step), (gradient * direction).sum(1), atol=2e-3, rtol=2e-2)


def test_the_ranker_stays_bit_identical(trained_micro: TrainedRanker, rng: torch.Generator) -> None:
    ranker = trained_micro.ranker
    for mode in (True, False):
        ranker.train(mode)
        before = {name: value.clone() for name, value in ranker.state_dict().items()}
        scores = full_scores(ranker.eval(), torch.arange(1, 4)).clone()
        ranker.train(mode)
        state = torch.get_rng_state()
        view = Counterfactual(ranker)
        features = torch.randn(2, 8, generator=rng).requires_grad_()
        view.substitute(torch.tensor([1, 2]), torch.tensor([3, 4]), features).sum().backward()
        assert ranker.training == mode
        assert all(parameter.grad is None or not parameter.grad.any() for parameter in ranker.parameters())
        assert all(torch.equal(before[name], value) for name, value in ranker.state_dict().items())
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.equal(full_scores(ranker.eval(), torch.arange(1, 4)), scores)


def test_spread_is_the_deviation_over_real_items(counterfactual: Counterfactual) -> None:
    users = torch.tensor([1, 7])
    scores = counterfactual.scores(users)
    assert (scores[:, 0] == -torch.inf).all()
    torch.testing.assert_close(counterfactual.spread(users), scores[:, 1:].double().std(dim=1, correction=0).float())


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (torch.ones(1, 5), "5 wide, the ranker was trained on 8"),
        (torch.zeros(1, 8), r"features of item 3 \(row 0 of 1\) are zero or not finite"),
        (torch.full((1, 8), torch.nan), "zero or not finite"),
    ],
)
def test_impossible_features(counterfactual: Counterfactual, features: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        counterfactual.substitute(torch.tensor([1]), torch.tensor([3]), features)


@pytest.mark.parametrize("method", get_args(Method))
def test_unknown_modality(trained_micro: TrainedRanker, method: Method) -> None:
    with pytest.raises(ValueError, match="no modality 'sound', only image"):
        Counterfactual(trained_micro.ranker, "sound", method=method)


def test_unknown_method(trained_micro: TrainedRanker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # users have no checks of annotations
    with pytest.raises(ValueError, match="method is 'Exact', but must be one of inductive, exact"):
        Counterfactual(trained_micro.ranker, method="Exact")  # pyright: ignore[reportArgumentType]


def test_a_ranker_from_elsewhere_cannot_be_rebuilt(trained_micro: TrainedRanker) -> None:
    frozen = trained_micro.ranker.frozen("image")
    foreign = SimpleNamespace(frozen=lambda modality: frozen, embeddings=None, clear_cache=None)
    assert Counterfactual(foreign).feature_dim == 8
    with pytest.raises(
        ValueError, match=r"SimpleNamespace cannot be .*: it lacks content, build_graphs, check_substitutable$"
    ):
        Counterfactual(foreign, method="exact")
