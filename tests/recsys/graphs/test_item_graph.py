import numpy as np
import pytest
import torch

from recsys.graphs.item_graph import item_graph


def _dense_neighbours(vectors: np.ndarray, k: int) -> np.ndarray:
    """The normalised k-nearest-neighbour graph by the formulas, in float64 and N x N."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    similarity = unit @ unit.T
    masked = np.zeros_like(similarity)
    for i, row in enumerate(similarity):
        best = np.argsort(-row)[:k]
        masked[i, best] = row[best]
    scale = masked.sum(1) ** -0.5
    return scale[:, None] * masked * scale[None, :]


def _dense(graph) -> torch.Tensor:
    row, column, value = graph.edges()
    size = len(graph.degree)
    return torch.zeros(size, size, dtype=value.dtype).index_put((row, column), value, accumulate=True)


def test_item_graph_equals_the_dense_formula(rng: torch.Generator) -> None:
    vectors = torch.randn(40, 12, generator=rng) + 0.5
    graph = item_graph(vectors, torch.ones(40, dtype=torch.bool), 6)
    torch.testing.assert_close(_dense(graph).double(), torch.from_numpy(_dense_neighbours(vectors.double().numpy(), 6)))


def test_gradient_equals_that_of_the_dense_form(rng: torch.Generator) -> None:
    """Dense: cosine matrix, all but the top k masked, normalised; the mask is a constant."""
    vectors = (torch.randn(20, 6, generator=rng, dtype=torch.float64) + 0.5).requires_grad_()
    probe = torch.randn(20, 20, generator=rng, dtype=torch.float64)
    unit = vectors / vectors.norm(dim=1, keepdim=True)
    similarity = unit @ unit.T
    mask = torch.zeros_like(similarity).scatter(1, similarity.topk(4).indices, 1.0)
    masked = similarity * mask
    scale = masked.sum(1).rsqrt()
    (expected,) = torch.autograd.grad((scale[:, None] * masked * scale * probe).sum(), vectors)
    graph = item_graph(vectors, torch.ones(20, dtype=torch.bool), 4)
    (actual,) = torch.autograd.grad((_dense(graph) * probe).sum(), vectors)
    torch.testing.assert_close(actual, expected)


def test_items_without_features_have_no_edges(rng: torch.Generator) -> None:
    """The graph of the others is what it would be if the absent ones did not exist: no NaN, no edge to row 0."""
    vectors = torch.randn(15, 4, generator=rng)
    present = torch.ones(15, dtype=torch.bool)
    present[[0, 7]] = False
    vectors[0] = 0  # RecBole's padding row, the zero row that turns the reference into NaN
    dense = _dense(item_graph(vectors, present, 3))
    assert dense[[0, 7]].abs().sum() == dense[:, [0, 7]].abs().sum() == 0
    alone = _dense(item_graph(vectors[present], torch.ones(13, dtype=torch.bool), 3))
    torch.testing.assert_close(dense[present][:, present], alone)


def test_k_larger_than_the_items_that_have_the_modality() -> None:
    present = torch.tensor([False, True, True, True])
    with pytest.raises(ValueError, match="5 neighbours per item were asked for, but 3 items"):
        item_graph(torch.eye(4), present, 5)


def test_an_item_graph_without_items() -> None:
    with pytest.raises(ValueError, match="2 neighbours per item were asked for, but 0 items have features"):
        item_graph(torch.eye(4), torch.zeros(4, dtype=torch.bool), 2)


def test_own_vector_returns_own_row_even_among_copies(rng: torch.Generator) -> None:
    vectors = torch.randn(8, 5, generator=rng).repeat(4, 1)  # every vector four times: ties everywhere
    graph = item_graph(vectors, torch.ones(32, dtype=torch.bool), 6)
    columns, weights = graph.substituted_rows(torch.arange(32), vectors)
    rows = torch.zeros(32, 32).scatter_add(1, columns, weights)
    torch.testing.assert_close(rows, _dense(graph))


def test_self_edge_belongs_to_the_new_vector(rng: torch.Generator) -> None:
    """The opposite of the old vector still has cosine 1 with itself: weight 1 / deg_i, and a positive one."""
    vectors = torch.randn(12, 4, generator=rng)
    graph = item_graph(vectors, torch.ones(12, dtype=torch.bool), 1)
    columns, weights = graph.substituted_rows(torch.tensor([3]), -vectors[3:4])
    assert columns.tolist() == [[3]]
    torch.testing.assert_close(weights, torch.ones(1, 1))
