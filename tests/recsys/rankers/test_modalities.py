from pathlib import Path

import numpy as np
import pytest
import torch

from recsys.features import FeatureTable
from recsys.graphs.neighbours import Search
from recsys.rankers.modalities import Modalities, Projections

TOKENS = ["[PAD]", "a", "b", "c"]
CPU = torch.device("cpu")


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, Path]:
    """Image: c, a, and a row of zeros for b; text: b and an item of another catalogue."""
    tables = {
        "image": FeatureTable(("c", "a", "b"), np.array([[1, 2], [3, 4], [0, 0]], np.float32)),
        "text": FeatureTable(("b", "z"), np.array([[5], [6]], np.float32)),
    }
    for name, table in tables.items():
        table.write(tmp_path / name)
    return {name: tmp_path / name for name in tables}


def test_rows_follow_the_ids_and_holes_are_zeros(paths: dict[str, Path]) -> None:
    content = Modalities(paths, TOKENS, CPU)
    assert content.names == ("image", "text")
    assert content.features("image").tolist() == [[0, 0], [3, 4], [0, 0], [1, 2]]
    assert content.features("text").tolist() == [[0], [0], [5], [0]]
    assert content.present.tolist() == [[False, True, False, True], [False, False, True, False]]
    assert content.mask("text").tolist() == content.present[1].tolist()
    assert not content.state_dict()  # features are read from their files, not from checkpoints


def test_the_search_is_that_of_the_configuration(paths: dict[str, Path]) -> None:
    keys = {"features": paths, "missing_features": "hole", "knn_exact_items": 3, "knn_n_probe": 5, "knn_n_cells": 7}
    assert Modalities.configured(keys, TOKENS, CPU).search == Search(exact_items=3, n_probe=5, n_cells=7)


def test_graphs_leave_holes_out(paths: dict[str, Path]) -> None:
    """a = (3, 4) / 5 and c = (1, 2) / sqrt 5: cosine 11 / (5 sqrt 5). By other vectors: 0."""
    content = Modalities(paths, TOKENS, CPU)
    graph = content.graph("image", 2)
    assert graph.rows.tolist() == [1, 3]
    assert graph.columns.tolist() == [[1, 3], [3, 1]]
    torch.testing.assert_close(graph.weights[:, 1], torch.full((2,), 11 / 125**0.5))
    other = content.graph("image", 2, torch.tensor([[9.0, 9.0], [1.0, 0.0], [9.0, 9.0], [0.0, 1.0]]))
    assert other.weights[:, 1].tolist() == [0, 0]


def test_learned_graphs_keep_float32_inside_autocast(paths: dict[str, Path]) -> None:
    """T = 2 I keeps the cosine of a and c, 11 / (5 sqrt 5) = 0.98387; in bfloat16 it would be 0.984375."""
    content = Modalities(paths, TOKENS, CPU)
    projection = Projections(content, 2).of("image")
    with torch.no_grad():
        projection.weight.copy_(2 * torch.eye(2))
        projection.bias.zero_()
    with torch.autocast("cpu", torch.bfloat16):
        graph = content.learned_graph("image", 2, projection)
        other = content.learned_graph("image", 2, projection, torch.tensor([[0.0, 0], [1, 0], [0, 0], [3, 4]]))
    assert graph.weights.dtype == torch.float32
    assert graph.weights[:, 1].tolist() == pytest.approx([11 / 125**0.5] * 2, abs=1e-6)
    assert other.weights[:, 1].tolist() == pytest.approx([0.6, 0.6], abs=1e-6)


def test_projections_have_the_widths_of_the_features(paths: dict[str, Path]) -> None:
    content = Modalities(paths, TOKENS, CPU)
    projections = Projections(content, 3, bias=False)
    assert {name: tuple(value.shape) for name, value in projections.state_dict().items()} == {
        "image.weight": (3, 2),
        "text.weight": (3, 1),
    }
    assert projections.of("image")(content.features("image"))[0].tolist() == [0, 0, 0]


def test_what_is_not_there(paths: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"at least one modality: features: \{image: <path of a feature table>\}"):
        Modalities({}, TOKENS, CPU)
    with pytest.raises(ValueError, match=r"none of the 2 items has text features in .*text"):
        Modalities(paths, ["[PAD]", "a", "c"], CPU)
    with pytest.raises(FileNotFoundError, match="no feature table at"):
        Modalities({"image": tmp_path / "nowhere"}, TOKENS, CPU)
    with pytest.raises(ValueError, match="no modality 'sound', only image, text"):
        Modalities(paths, TOKENS, CPU).position("sound")
