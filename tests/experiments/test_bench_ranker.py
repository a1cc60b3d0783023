"""The benchmark of the ranker as its reader starts it, at a minute size."""

import json
from pathlib import Path

import pytest

from experiments import bench_ranker
from ragar_rec.studies.ranker_benchmark import Sizes


def test_some_parts_alone_keep_the_figures_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench_ranker, "QUICK", Sizes(ranked=(20, 40)))
    file = tmp_path / "figures.json"
    file.write_text(json.dumps({"counterfactual_agreement": 1, "growth_exponent": 9, "full_ranking_vs_product": -1}))
    bench_ranker.main([f"--output={tmp_path / 'bench'}", f"--json={file}", "--quick", "--only=full_ranking"])
    figures = json.loads(file.read_text())
    assert figures.keys() == {"growth_exponent", "full_ranking_vs_product"}
    assert figures["growth_exponent"] == 9
    assert figures["full_ranking_vs_product"] > 0
    printed = capsys.readouterr().out
    assert "top 10 of 40 for 20: " in printed
    assert json.loads(printed[printed.index("{\n") :]) == figures


def test_an_unknown_part_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench_ranker.main(["--only=epoch,nothing"])
    assert "no part is called nothing; there are epoch, full_ranking, " in capsys.readouterr().err
