"""The ranker experiment as its reader starts it, on the two dozen films."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from experiments import ranker
from film_world import FILMS, PEOPLE, config_file

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--models=Pop,Nothing", "no row is called Nothing; there are Pop, ItemKNN, "),
        ("--jobs=0", "at least 1, not 3 and 0"),
    ],
)
def test_a_mistake_is_named(argument: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        ranker.main([argument])
    assert message in capsys.readouterr().err


def test_a_launcher_of_several_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with pytest.raises(SystemExit, match="not under accelerate launch"):
        ranker.main([])


@pytest.mark.slow
def test_the_table_is_what_the_written_ranks_say(films: Path, tmp_path: Path) -> None:
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
