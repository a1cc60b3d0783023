"""The benchmark's straightforward form computes what the ranker computes, its sums are right, and so is its JSON."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.bench_ranker import Args, Benchmark, Sizes, exponent, graph_recall, synthetic
from recsys.graphs.item_graph import ItemGraph
from recsys.memory import peak_memory
from recsys.recbole.config import with_ranker
from recsys.recbole.dataset import Dataset
from worlds import Checkerboard, checkerboard


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Checkerboard:
    return checkerboard(tmp_path_factory.mktemp("world"))


def test_the_dense_form_has_the_losses_and_gradients_of_the_ranker(world: Checkerboard) -> None:
    """On the first batch of an epoch (the graph carries gradient) and on the second."""
    settings = {"model": "MICRO", "features": {"image": str(world.image)}, "knn_k": 5, "anchors": "all"}
    config = {**world.config, **settings, "temperature": 0.3}
    batch = {"user_id": [2, 3, 2], "item_id": [3, 7, 80], "neg_item_id": [9, 3, 85]}
    batch = {name: torch.tensor(ids) for name, ids in batch.items()}
    found = []
    for name in ("MICRO", "experiments.bench_ranker:DenseMICRO"):
        ranker = Dataset.load(with_ranker(config, name)).new_ranker().train()
        twice = [torch.stack(ranker.calculate_loss(batch)) for _ in range(2)]
        torch.stack(twice).sum().backward()
        found.append([*twice, *(parameter.grad for parameter in ranker.parameters())])
    for ours, dense in zip(*found, strict=True):
        torch.testing.assert_close(ours, dense, atol=1e-6, rtol=1e-4)


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


FIGURES = {
    "epoch_speedup",
    "epoch_speedup_recommended",
    "epoch_recall_difference",
    "growth_exponent",
    "memory_gb_1m",
    "counterfactual_speedup",
    "counterfactual_vs_product",
    "full_ranking_vs_product",
}
MINUTE = Sizes(
    items=200,
    batches=1,
    ranked=(20, 40),
    triples=20,
    replaceable=120,
    grown=(120,),
    steps=2,
    seeds=1,
    epochs=1,
    pairs=3,
)


class Minute(Benchmark):
    """On a hundred synthetic items in place of ml-100k, whose pictures take minutes to be learned from."""

    def ml_100k(self) -> dict[str, Any]:
        return synthetic(self.folder, 120, width=16)


def test_the_json_has_the_eight_figures_and_nothing_of_an_earlier_run(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    file.write_text(json.dumps({"counterfactual_agreement": 1, "growth_exponent": 9}))
    held = torch.ones(2**28)
    figures = Minute(Args(output=tmp_path / "bench", json=file), MINUTE).run()
    assert json.loads(file.read_text()) == figures
    assert figures.keys() == FIGURES
    low, high = figures["epoch_recall_difference"]
    assert -1 <= low <= high <= 1
    assert figures["memory_gb_1m"] is None  # no million was run
    assert all(figures[name] > 0 for name in FIGURES if name.endswith(("speedup", "product")))
    agreement = json.loads((tmp_path / "bench" / "agreement.json").read_text())
    assert agreement["pairs"] == 3
    assert -1 <= agreement["inductive"] <= 1
    # Growth is measured in a process of its own, which must not begin at the gigabyte that this one holds.
    (row,) = json.loads((tmp_path / "bench" / "growth.json").read_text())
    assert row["recall"] == 1
    assert row["loaded_gb"] <= row["memory_gb"]
    assert row["memory_gb"] * 2**30 < peak_memory() - held.nbytes / 2


def test_some_parts_alone_keep_the_figures_of_the_others(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    file.write_text(json.dumps({"counterfactual_agreement": 1, "growth_exponent": 9, "full_ranking_vs_product": -1}))
    figures = Minute(Args(output=tmp_path / "bench", json=file, only=("full_ranking",)), MINUTE).run()
    assert json.loads(file.read_text()) == figures
    assert figures.keys() == {"growth_exponent", "full_ranking_vs_product"}
    assert figures["growth_exponent"] == 9
    assert figures["full_ranking_vs_product"] > 0
