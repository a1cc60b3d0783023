"""The benchmark of the ranker at a minute size: which figures it has, and that growth is measured on its own."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ragar_rec.studies.memory import peak_memory
from ragar_rec.studies.ranker_benchmark import FIGURES, RankerBenchmark, Sizes
from ragar_rec.studies.synthetic import synthetic

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


class Minute(RankerBenchmark):
    """On a hundred synthetic items in place of ml-100k, whose pictures take minutes to be learned from."""

    def ml_100k(self) -> dict[str, Any]:
        return synthetic(self.folder, 120, width=16)


@pytest.mark.slow
def test_the_json_has_the_eight_figures_and_nothing_of_an_earlier_run(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    file.write_text(json.dumps({"counterfactual_agreement": 1, "growth_exponent": 9}))
    held = torch.ones(2**28)
    figures = Minute(tmp_path / "bench", MINUTE).run(file)
    assert json.loads(file.read_text()) == figures
    assert figures.keys() == set(FIGURES)
    assert len(FIGURES) == 8
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
