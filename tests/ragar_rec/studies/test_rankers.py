"""The table of rankers on known ranks."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from film_world import PEOPLE
from ragar_rec.studies import rankers
from recsys.recbole.dataset import Dataset


def test_the_table_of_known_ranks(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """30 people, one held-out item each, first or last of 13: Recall@10 is 1 or 0, NDCG@20 is 1 or d = 1/log2 14.

    MICRO validates .2 at cl_weight .03 and .4 at .3, so .3 is chosen. There the item is first for the 15 people of even
    id by the first seed and for all by the second: Recall@10 of a person is 1 or .5, of a seed .5 and 1, whose mean is
    .75 and whose standard deviation is sqrt(.25^2 + .25^2) = .25 sqrt 2. NDCG@20 of a seed is (1 + d) / 2 and 1, whose
    mean is (3 + d) / 4 and whose deviation is (1 - d) / 4 sqrt 2. Everything else ranks last: 0 and d without
    deviation, so MICRO's lead is .75 and (3 + d) / 4 - d.
    """
    target, trained = dict(zip(*dataset.interactions.test, strict=True)), []

    def training(config: dict[str, Any], folder: Path) -> dict[str, Any]:
        trained.append((config["model"], config.get("cl_weight"), config["seed"], list(config["features"])))
        micro = config["model"] == "MICRO"
        return {
            "best_valid": config["cl_weight"] + 0.1 if config.get("cl_weight") == 0.3 else 0.2,
            "epoch": 60 if micro else 1,
            "best_epoch": 56 if micro else 1,
            "history": [{"seconds": 2.0}, {"seconds": 3.0}],
            "identity": {"settings": {"epochs": 60, "eval_step": 4}},
            "memory": {"bytes": 2e9, "before": 1e9},
            "fit": 4.0 + 2 * (config["seed"] - 2020) if micro else None,
        }

    def scores(config: dict[str, Any], users: torch.Tensor) -> torch.Tensor:
        whole = config.get("cl_weight") == 0.3 and len(config["features"]) == 2
        found = torch.zeros(len(users), dataset.n_items)
        for row, user in enumerate(users.tolist()):
            found[row, target[user]] = float(whole and (config["seed"] == 2021 or user % 2 == 0))
        return found  # equal scores stand before the item

    monkeypatch.setattr(rankers, "train_apart", training)

    def loaded(config: dict[str, Any], _: Path) -> SimpleNamespace:
        return SimpleNamespace(ranker=config, dataset=dataset, metrics=lambda: {"recall@10": config["seed"]})

    monkeypatch.setattr(rankers, "load_ranker", loaded)
    monkeypatch.setattr(rankers, "full_scores", scores)
    config = {"seed": 2020, "features": {"image": "image.npz", "text": "text.npz"}}
    grids = {"Pop": {}, "MICRO": {"cl_weight": [0.03, 0.3]}}
    table = rankers.RankerTable(config, tmp_path, n_seeds=2, grids=grids)
    assert table.choose("MICRO")[0] == {"cl_weight": 0.3}
    for name in ("Pop", "MICRO", "MICRO without text"):
        table.add(name)
    both = ["image", "text"]
    assert trained == [
        ("MICRO", 0.03, 2020, both),
        ("MICRO", 0.3, 2020, both),
        ("Pop", None, 2020, both),
        ("Pop", None, 2021, both),
        ("MICRO", 0.3, 2021, both),
        ("MICRO", 0.3, 2020, ["image"]),
        ("MICRO", 0.3, 2021, ["image"]),
    ]

    d, root = 1 / math.log2(14), math.sqrt(2)
    assert sorted(table.people["MICRO"]["recall@10"]) == [0.5] * 15 + [1.0] * 15
    recall, ndcg = (table.rows["MICRO"]["metrics"][metric] for metric in ("recall@10", "ndcg@20"))
    assert (recall["value"], recall["seeds"], recall["n"]) == (0.75, [0.5, 1.0], PEOPLE)
    assert recall["sd"] == pytest.approx(0.25 * root)
    assert table.rows["MICRO"]["recbole"] == {"recall@10": [2020, 2021]}  # a value a seed, of what `topk` asks for
    assert ndcg["value"] == pytest.approx((3 + d) / 4)
    assert ndcg["sd"] == pytest.approx((1 - d) / 4 * root)
    assert table.rows["Pop"]["metrics"]["ndcg@20"]["value"] == pytest.approx(d)
    assert table.rows["Pop"]["metrics"]["ndcg@20"]["sd"] == pytest.approx(0, abs=1e-12)
    lead = table.differences()
    assert list(lead) == ["Pop", "MICRO without text"]
    for by_metric in lead.values():
        assert by_metric["recall@10"]["value"] == 0.75
        assert by_metric["recall@20"]["value"] == 0
        assert by_metric["ndcg@20"]["value"] == pytest.approx((3 + d) / 4 - d)

    lines = table.markdown().splitlines()
    assert [row.split(" | ")[-3:] for row in lines[2:5]] == [
        ["2.50", "–", "2.00 |"],
        ["2.50", "5.0", "2.00 |"],
        ["2.50", "5.0", "2.00 |"],
    ]
    assert [row.split(" | ")[0] for row in lines[2:5]] == ["| Pop", r"| MICRO \*", r"| MICRO without text \*"]
    assert lines[6] == (
        r"\* MICRO: cl_weight 0.3 is an end of the grid; best epoch 56 of 60. "
        "MICRO without text: keeps the point that was tuned for whole MICRO, which favours whole MICRO; "
        "best epoch 56 of 60."
    )
