"""The ranker experiment: its table of known ranks, and as its reader starts it, on the two dozen films."""

import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch

from film_world import FILMS, PEOPLE, config_file
from recsys.recbole.dataset import Dataset

ROOT = Path(__file__).parents[2]


@pytest.fixture
def experiment(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("ranker_experiment", ROOT / "experiments" / "ranker.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_known_ranks(experiment: Any, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
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

    monkeypatch.setattr(experiment, "GRID", {"Pop": {}, "MICRO": {"cl_weight": [0.03, 0.3]}})
    monkeypatch.setattr(experiment, "train_apart", training)

    def loaded(config: dict[str, Any], _: Path) -> SimpleNamespace:
        return SimpleNamespace(ranker=config, dataset=dataset, metrics=lambda: {"recall@10": config["seed"]})

    monkeypatch.setattr(experiment, "load_ranker", loaded)
    monkeypatch.setattr(experiment, "full_scores", scores)
    config = {"seed": 2020, "features": {"image": "image.npz", "text": "text.npz"}}
    table = experiment.Table(config, tmp_path, experiment.Args(seeds=2))
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


def test_nothing_lies_below_zero_and_a_middle_value_is_no_end(experiment: Any):
    tried = [{"settings": {"k": k, "weight_decay": w}} for k in (20, 50, 100) for w in (0.0, 1e-5)]
    assert experiment.at_the_ends({"k": 50, "weight_decay": 0.0}, tried) == []
    assert experiment.at_the_ends({"k": 20, "weight_decay": 1e-5}, tried) == [
        "k 20 is an end of the grid",
        "weight_decay 1e-05 is an end of the grid",
    ]


@pytest.mark.parametrize(("last", "best", "said"), [(60, 55, []), (60, 56, ["best epoch 56 of 60"]), (58, 56, [])])
def test_a_training_that_stopped_by_itself_was_not_cut_short(experiment: Any, last: int, best: int, said: list[str]):
    """Of 60 epochs, validated every 4: after 56 another validation was still to come, or patience ended it before."""
    state = {"epoch": last, "best_epoch": best, "identity": {"settings": {"epochs": 60, "eval_step": 4}}}
    assert experiment.cut_short([state, state]) == said


def test_a_launcher_of_several_processes_is_refused(experiment: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with pytest.raises(SystemExit, match="not under accelerate launch"):
        experiment.main()


@pytest.mark.slow
def test_the_table_is_what_the_written_ranks_say(films: Path, tmp_path: Path):
    """Twelve films a person, one of them held out: Recall@10 of a person is whether its rank is at most 10."""
    config = config_file(tmp_path, features__image_encoder="hog")
    command = [
        sys.executable,
        "experiments/ranker.py",
        f"--config={config}",
        f"--data={films}",
        "--quick",
        "--jobs=2",
        f"--output={tmp_path / 'out'}",
        "--models=Pop,MICRO,MICRO without images",
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    printed = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout
    folder = tmp_path / "out" / "quick"
    content = json.loads((folder / "rankers.json").read_text())
    recall = {}
    for row in content["rows"]:
        ranks = pd.read_parquet(folder / "rankers" / f"{row['row'].replace(' ', '-')}-ranks.parquet")
        assert len(ranks) == PEOPLE
        assert ranks["rank"].between(1, FILMS - 11 + 1).all()
        recall[row["row"]] = (ranks["rank"] <= 10).mean()
        assert row["metrics"]["recall@10"]["value"] == pytest.approx(recall[row["row"]], abs=1e-12)
        assert row["metrics"]["recall@10"]["n"] == PEOPLE
        assert set(row["recbole"]) == {"recall@10", "ndcg@10"}
        if row["row"] == "Pop":  # of equal scores RecBole's evaluator takes any, ours counts them against the item
            assert row["recbole"]["recall@10"][0] >= recall["Pop"]
        else:
            assert row["recbole"]["recall@10"] == [pytest.approx(recall[row["row"]], abs=1e-6)]
        assert row["memory_before_gb"] <= row["peak_memory_gb"] < 4
        assert row["fit_seconds"] > row["seconds_per_epoch"]
    assert list(recall) == ["Pop", "MICRO", "MICRO without images"]
    for name in ("Pop", "MICRO without images"):
        difference = content["MICRO minus"][name]["recall@10"]["value"]
        assert difference == pytest.approx(recall["MICRO"] - recall[name], abs=1e-12)
        assert f"| MICRO − {name} | {difference:+.4f} [" in printed
