import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.graphs.adjacency import interaction_adjacency


def test_symmetric_normalisation_by_hand() -> None:
    """u0 clicks i0 and i1, u1 clicks i1 (twice): degrees 2, 1, 1, 2, so 1/sqrt(2*1), 1/sqrt(2*2), 1/sqrt(1*2)."""
    users, items = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1])
    dense = interaction_adjacency(users, items, n_users=2, n_items=3).to_dense()
    upper = torch.zeros(2, 3)
    upper[0, 0], upper[0, 1], upper[1, 1] = 2**-0.5, 0.5, 2**-0.5
    expected = torch.zeros(5, 5)
    expected[:2, 2:], expected[2:, :2] = upper, upper.T
    torch.testing.assert_close(dense, expected)  # i2, which nobody clicked, has an empty row.


def test_reference_normalisation_by_hand() -> None:
    """D^-1 (A + I): u0 has itself, i0 and i1, a third each; i2 only itself."""
    users, items = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1])
    dense = interaction_adjacency(users, items, n_users=2, n_items=3, normalisation="reference").to_dense()
    torch.testing.assert_close(dense[0], torch.tensor([1 / 3, 0, 1 / 3, 1 / 3, 0]))
    torch.testing.assert_close(dense[4], torch.tensor([0.0, 0, 0, 0, 1]))
    torch.testing.assert_close(dense.sum(1), torch.ones(5))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7)), min_size=1, max_size=40))
def test_symmetric_graph_is_symmetric_with_radius_one(clicks: list[tuple[int, int]]) -> None:
    users, items = torch.tensor(clicks).T
    dense = interaction_adjacency(users, items, n_users=6, n_items=8).to_dense()
    assert torch.equal(dense, dense.T)
    assert torch.linalg.eigvalsh(dense.double()).abs().max() <= 1 + 1e-6


def test_a_graph_without_clicks() -> None:
    none = torch.zeros(0, dtype=torch.long)
    with pytest.raises(ValueError, match="got 0 for 3 users and 4 items"):
        interaction_adjacency(none, none, n_users=3, n_items=4)
