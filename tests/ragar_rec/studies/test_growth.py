"""The recall of a graph and the exponent of growth, by hand."""

import pytest
import torch

from ragar_rec.studies.growth import exponent, graph_recall
from recsys.graphs.item_graph import ItemGraph


def test_the_recall_of_a_graph_by_hand() -> None:
    """Items 1, 2, 4, 5 at 0, 10, 30, 180 degrees, padding and 3 without features. Each has itself, one of its two
    nearest, and one that is none.
    """
    angle = torch.tensor([0, 10, 30, 180]).deg2rad()
    rows = torch.tensor([1, 2, 4, 5])
    unit = torch.zeros(6, 2).index_copy(0, rows, torch.stack([angle.cos(), angle.sin()], 1))
    columns = torch.tensor([[1, 2, 5], [2, 1, 5], [4, 2, 5], [5, 4, 1]])
    assert graph_recall(ItemGraph(unit, rows, columns, torch.ones(4, 3), torch.ones(6))) == 0.5


def test_exponent_by_hand() -> None:
    """Ten times the items take twenty times as long: log 20 / log 10. What is below 10,000 does not count."""
    sizes = [(1_000, 9.0), (10_000, 1.0), (100_000, 20.0), (1_000_000, 400.0)]
    rows = [{"items": items, "graph": seconds / 2, "steps": seconds / 2} for items, seconds in sizes]
    assert exponent(rows) == pytest.approx(1.30103, abs=1e-5)
    assert exponent(rows[:1]) == 0
