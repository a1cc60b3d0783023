"""The benchmark of the generator as its reader starts it, on two dozen films."""

import json
from pathlib import Path

import pytest
import torch

from experiments import bench_generation
from film_world import config_file


@pytest.mark.slow
def test_the_json_has_every_figure(films: Path, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    file.write_text('{"of_another_run": 1}')
    paths = {"config": config_file(tmp_path), "data": films, "output": tmp_path / "output", "json": file}
    bench_generation.main([*(f"--{name}={path}" for name, path in paths.items()), "--batch=4", "--quick"])
    figures = json.loads(file.read_text())
    assert figures.keys() == {
        "largest_over_smallest",
        "images_per_second",
        "overhead_vs_bare",
        "model_share",
        "gpu_speedup",
    }
    assert figures["overhead_vs_bare"] is not None
    assert figures["overhead_vs_bare"] > 0.9  # the bare computation is a part of the product's
    assert figures["model_share"] is not None
    assert 0 < figures["model_share"] < 1
    assert torch.cuda.is_available() or figures["gpu_speedup"] is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="the part `gpu` would be measured")
def test_a_part_alone_keeps_the_figures_of_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "generation.json"
    file.write_text('{"images_per_second": 7.5, "gpu_speedup": 3.0}')
    bench_generation.main([f"--output={tmp_path}", "--only=gpu"])
    assert json.loads(file.read_text()) == {"images_per_second": 7.5, "gpu_speedup": None}
    printed = capsys.readouterr().out
    assert json.loads(printed[printed.index("{\n") :]) == {"images_per_second": 7.5, "gpu_speedup": None}
