"""The benchmark of the generator: how fast pictures are made, and what limits it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from generation.backbone.config import PACKAGED
from generation.ragar.ragar import Ragar
from generation.request import Request
from ragar_rec.evaluation.people import training_requests
from ragar_rec.experiment import Experiment
from ragar_rec.small_models import BACKBONE
from ragar_rec.studies.benchmark import Part, measure
from ragar_rec.studies.generation_speed import MODELS, batch_seconds, reward_training, size_costs
from ragar_rec.studies.markdown import markdown_table
from ragar_rec.studies.text_to_image_speed import sd15_backbone, text_to_image_rates
from ragar_rec.studies.timing import arithmetic_rate

SIZES = ((96, 64), (144, 96), (192, 128), (192, 192))
"""Heights and widths that the part `sizes` draws, smallest first: the peak of memory never falls."""
UNTRAINED = ["--language.steps=1", "--epochs=1", "--reflection.warm_start_steps=1"]
"""Overrides that leave the models at the config's sizes with next to no training: time does not depend on weights."""


class GenerationBenchmark:
    """All measurements of the generator; each prints what limits it.

    Args:
        output: receives the models' stages.
        config: a RecBole YAML file; the embedded default without it.
        data: the raw data set, where the config needs one.
        weights: pretrained weights, where the config needs any.
        batch: pictures at a time.
        quick: fewer repetitions and pictures.
    """

    PARTS = ("sizes", "generation", "reward", "gpu")

    def __init__(
        self,
        output: Path,
        *,
        config: Path | None = None,
        data: Path | None = None,
        weights: Path | None = None,
        batch: int = 64,
        quick: bool = False,
    ) -> None:
        self.folder, self.config, self.data, self.weights = output, config, data, weights
        self.batch, self.quick = batch, quick

    def run(self, file: Path | None = None, only: Sequence[str] = ()) -> dict[str, Any]:
        """Measure all parts, or only some, into a JSON file, by default ``generation.json`` in the output folder.

        Returns:
            Every figure that the file holds afterwards, by name.
        """
        parts: dict[str, Part] = {name: getattr(self, name) for name in self.PARTS}
        return measure(parts, file or self.folder / "generation.json", only=only)

    @cached_property
    def experiment(self) -> Experiment:
        """The models at the config's sizes, made when a part needs them."""
        return Experiment.open(self.config, UNTRAINED, self.data, self.weights, self.folder / "generation")

    def requests(self, n: int) -> list[Request]:
        """The first ``n`` of the users whom the generator is trained on."""
        run = self.experiment
        return training_requests(run.ranker.dataset, run.ragar.people.train, run.pictures.pictured, 0)[:n]

    def sizes(self) -> dict[str, float]:
        """What larger pictures cost, by the package's backbone, which was trained at the smallest of these sizes."""
        batch, learned = (8, 2) if self.quick else (self.batch, 16)
        costs = [size_costs(PACKAGED / BACKBONE, size, batch=batch, learned=learned) for size in SIZES]
        titles = (
            "height x width",
            f"seconds for {batch} pictures",
            f"seconds for a step of {learned} with gradient",
            "peak MB",
        )
        rows = [
            (
                f"{height} x {width}",
                f"{cost['seconds']:.2f}",
                f"{cost['step_seconds']:.2f}",
                f"{cost['bytes'] / 1e6:.0f}",
            )
            for (height, width), cost in zip(SIZES, costs, strict=True)
        ]
        print(markdown_table(titles, rows))
        return {"largest_over_smallest": costs[-1]["seconds"] / costs[0]["seconds"]}

    def generation(self) -> dict[str, float]:
        """Images a second, and the time over that of the bare UNet and codec."""
        requests = self.requests(self.batch)
        taken = batch_seconds(self._new_generator(), requests, repeats=3 if self.quick else 8)
        rate, overhead = len(requests) / taken["product"], taken["product"] / taken["bare"]
        print(f"{len(requests)} pictures: {taken['product']:.2f} s ({rate:.1f} a second), bare {taken['bare']:.2f} s")
        print(f"  {overhead:.2f} times the bare UNet and codec; of it the preference {taken['preference']:.2f} s")
        limit = taken["flop"] / arithmetic_rate()
        print(f"  limit: arithmetic, {taken['flop'] / 1e9:.0f} GFLOP, {limit:.2f} s by a product")
        return {"images_per_second": rate, "overhead_vs_bare": overhead}

    def reward(self) -> dict[str, float]:
        """Share of reward training inside the models, and in the backward pass through them."""
        requests = self.requests(32 if self.quick else 128)
        total, inside = reward_training(self.experiment, requests, steps=3 if self.quick else 10)
        print(f"reward training, {total:.1f} s, of which inside:")
        for name, taken in sorted(inside.items(), key=lambda part: -part[1]):
            print(f"  {name}: {taken / total:.1%}")
        share = sum(inside[name] for name in MODELS) / total
        print(f"  models and backward: {share:.1%}")
        ragar = self._new_generator()
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            ragar.generate(requests[:32])
        print(profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=12, max_name_column_width=50))
        return {"model_share": share}

    def gpu(self) -> dict[str, float | None]:
        """Times as many SD-1.5-sized pictures a second as diffusers' plain loop draws; None without a GPU."""
        if not torch.cuda.is_available():
            print("no GPU: SD-1.5-sized pictures are not measured")
            return {"gpu_speedup": None}
        n, steps = (16, 10) if self.quick else (64, 20)
        rows = text_to_image_rates(sd15_backbone(), "cuda", n=n, batch=16, steps=steps)
        print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
        plain = rows[0][1]
        titles = ("with, besides what stands above", "images/s", "times the first")
        print(markdown_table(titles, [(name, f"{rate:.2f}", f"{rate / plain:.2f}") for name, rate in rows]))
        print("v_glob is drawn once and kept: where each request is visited again, half of its pictures cost nothing")
        return {"gpu_speedup": max(rate for _, rate in rows) / plain}

    def _new_generator(self) -> Ragar:
        return self.experiment.ragar.untrained
