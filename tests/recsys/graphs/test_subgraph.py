import pytest
import torch

from recsys.graphs.adjacency import csr
from recsys.graphs.subgraph import Neighbourhoods, joint_rows

SIZE = 30


@pytest.fixture
def dense(rng: torch.Generator) -> torch.Tensor:
    """30 nodes with about 6 neighbours each, except node 0 with 29, node 1 with 1 and node 2 without any."""
    matrix = torch.rand(SIZE, SIZE, generator=rng) * (torch.rand(SIZE, SIZE, generator=rng) < 0.2)
    matrix[0] = torch.rand(SIZE, generator=rng) + 0.1
    matrix[0, 2] = 0
    matrix[1:3] = 0
    matrix[1, 4] = 0.5
    return matrix


def _neighbourhoods(dense: torch.Tensor, fanout) -> Neighbourhoods:
    row, column = dense.nonzero().T
    return Neighbourhoods(csr(row, column, dense[row, column], SIZE), fanout)


@pytest.mark.parametrize("fanout", ["all", 29])
@pytest.mark.parametrize("n_hops", [1, 3])
def test_with_all_neighbours_it_is_the_whole_graph(
    dense: torch.Tensor, rng: torch.Generator, fanout, n_hops: int
) -> None:
    """Rows and gradient of (x + A x + ... + A^L x) / (L + 1) by dense products in float64."""
    x, seeds = torch.rand(SIZE, 4, generator=rng, requires_grad=True), torch.tensor([7, 0, 2, 1])
    subgraph = _neighbourhoods(dense, fanout).around(seeds, n_hops, rng)
    assert torch.equal(subgraph.nodes[:4], seeds)
    assert len(subgraph.nodes.unique()) == len(subgraph.nodes)
    actual = subgraph.layer_mean(x[subgraph.nodes])
    powers = [torch.linalg.matrix_power(dense.double(), power) for power in range(n_hops + 1)]
    mean = torch.stack(powers).mean(0)
    torch.testing.assert_close(actual.double(), (mean @ x.double())[seeds], rtol=1e-5, atol=1e-6)
    actual.square().sum().backward()
    assert x.grad is not None
    expected = 2 * mean[seeds].T @ (mean @ x.detach().double())[seeds]
    torch.testing.assert_close(x.grad.double(), expected, rtol=1e-5, atol=1e-5)


def test_a_crowded_node_reads_some_different_neighbours(dense: torch.Tensor, rng: torch.Generator) -> None:
    """Node 0 has 29 neighbours and reads 4 of them, each weighed up by 29 / 4; node 1 reads its only one as it is."""
    subgraph = _neighbourhoods(dense, 4).around(torch.tensor([0, 1, 2]), 1, rng)
    (hop,) = subgraph.hops
    assert hop.starts.tolist() == [0, 4, 5]
    read = subgraph.nodes[hop.columns]
    assert len(read[:4].unique()) == 4
    torch.testing.assert_close(hop.weights[:4], dense[0, read[:4]] * 29 / 4)
    assert (read[4].item(), hop.weights[4].item()) == (4, 0.5)


def test_two_sampled_hops_are_unbiased(dense: torch.Tensor, rng: torch.Generator) -> None:
    """The mean of 2,000 draws of (x + A x + A^2 x) / 3 at 5 nodes: within 4.5 standard errors of the exact value."""
    x, seeds = torch.rand(SIZE, 1, generator=rng), torch.tensor([0, 5, 9, 1, 20])
    neighbourhoods = _neighbourhoods(dense, 3)
    subgraphs = (neighbourhoods.around(seeds, 2, rng) for _ in range(2000))
    draws = torch.stack([subgraph.layer_mean(x[subgraph.nodes])[:, 0] for subgraph in subgraphs]).double()
    exact = ((x + dense @ x + dense @ dense @ x) / 3)[seeds, 0].double()
    error = draws.std(0) / len(draws) ** 0.5
    assert (error < 0.03 * exact).all()
    assert ((draws.mean(0) - exact).abs() <= 4.5 * error + 1e-6).all()


def test_rows_of_two_tables(rng: torch.Generator) -> None:
    first, second = (torch.rand(n, 2, generator=rng, requires_grad=True) for n in (3, 4))
    rows = torch.tensor([5, 0, 6, 2, 3, 5])
    actual = joint_rows(first, second, rows)
    assert torch.equal(actual, torch.cat([first, second])[rows])
    actual.sum().backward()
    assert first.grad is not None
    assert second.grad is not None
    assert first.grad[:, 0].tolist() == [1, 0, 1]
    assert second.grad[:, 0].tolist() == [1, 0, 2, 1]


@pytest.mark.parametrize("fanout", [0, -1, "none", True])
def test_impossible_fanout(dense: torch.Tensor, fanout) -> None:
    with pytest.raises(ValueError, match=f"fanout is {fanout!r}, but must be a whole number from 1 on or 'all'"):
        _neighbourhoods(dense, fanout)
