"""The benchmark at a minute size: what it writes, and that it measures what it says."""

import json
import time
from pathlib import Path

import pytest
import torch

from experiments.bench_generation import Args, Benchmark, bare, sd15, stopwatch, table
from film_world import config_file, film_folder
from full_size import PARAMETERS
from generation.pictures import to_float
from generation_world import World, build_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build_world(tmp_path_factory.mktemp("shapes"))


def test_the_json_has_the_four_figures(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    films = film_folder(tmp_path / "films")
    file.write_text('{"of_another_run": 1}')
    args = Args(config_file(tmp_path), films, output=tmp_path / "output", json=file, batch=4, quick=True)
    figures = Benchmark(args).measure()
    assert json.loads(file.read_text()) == figures
    assert figures.keys() == {"images_per_second", "overhead_vs_bare", "model_share", "gpu_speedup"}
    assert figures["overhead_vs_bare"] is not None
    assert figures["overhead_vs_bare"] > 0.9  # the bare computation is a part of the product's
    assert figures["model_share"] is not None
    assert 0 < figures["model_share"] < 1
    assert torch.cuda.is_available() or figures["gpu_speedup"] is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="the part `gpu` would be measured")
def test_a_part_alone_keeps_the_figures_of_the_others(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    file.write_text('{"images_per_second": 7.5, "gpu_speedup": 3.0}')
    figures = Benchmark(Args(output=tmp_path, json=file, only=("gpu",))).measure()
    assert figures == json.loads(file.read_text()) == {"images_per_second": 7.5, "gpu_speedup": None}


def test_the_bare_computation_runs_the_unet_on_twice_the_batch_at_every_step(world: World) -> None:
    ragar = world.ragar()
    calls: list[torch.Size] = []
    hook = world.backbone.pipeline.unet.register_forward_pre_hook(lambda _, args: calls.append(args[0].shape))
    embeds = torch.zeros(3, 36, 32)
    pictures = bare(ragar, embeds, embeds, to_float(world.gallery.images[:3]))
    hook.remove()
    assert calls == [(6, 8, 6, 4)] * 2  # two steps; 48 x 32 pixels are 6 x 4 latents
    assert pictures.shape == (3, 3, 48, 32)


def test_the_stopwatch_counts_what_is_inside_and_puts_the_methods_back(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    class Part:
        def work(self, taken: float) -> str:
            now[0] += taken
            return "done"

    part = Part()
    with stopwatch({"part": [(part, "work")]}) as inside:
        assert part.work(5) == "done"
        now[0] += 7
        part.work(0.5)
    part.work(3)
    assert inside == {"part": 5.5}
    assert "work" not in vars(part)


def test_the_table_of_the_gpu_has_a_row_for_each_change(world: World, tmp_path: Path) -> None:
    """On the CPU and at a small size, without the compiler."""
    world.backbone.save_pretrained(tmp_path)
    own = type(world.backbone).from_pretrained(tmp_path, (48, 32))
    rows = table(own, "cpu", n=4, batch=2, steps=2, compiled=False)
    assert [name for name, _ in rows] == [
        "diffusers, a prompt at a time, float32",
        "text states kept",
        "keys and values of cross-attention kept",
        "batches of 2",
        "bfloat16",
        "channels last",
    ]
    assert own.pipeline.unet.dtype == torch.bfloat16


def test_the_gpu_draws_at_sd15s_true_size() -> None:
    with torch.device("meta"):  # shapes without memory
        models = sd15()
    found = {name: sum(value.numel() for value in model.parameters()) for name, model in models.items()}
    assert found == {"codec": PARAMETERS["vae"], **{name: PARAMETERS[name] for name in ("unet", "text_encoder")}}
