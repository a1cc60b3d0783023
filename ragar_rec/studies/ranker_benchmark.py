"""The benchmark of the ranker: how fast it is, what limits it, and what its approximations cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragar_rec.experiment import Experiment
from ragar_rec.studies.approximations import agreement, recall_difference
from ragar_rec.studies.benchmark import Part, measure
from ragar_rec.studies.growth import exponent, growth, plot_growth
from ragar_rec.studies.ranker_speed import counterfactual_seconds, epoch_seconds, epoch_work, full_ranking_seconds
from ragar_rec.studies.synthetic import synthetic
from ragar_rec.studies.timing import arithmetic_rate, memory_rate

FIGURES = (
    "epoch_speedup",
    "epoch_speedup_recommended",
    "epoch_recall_difference",
    "growth_exponent",
    "memory_gb_1m",
    "counterfactual_speedup",
    "counterfactual_vs_product",
    "full_ranking_vs_product",
)
"""Keys of the JSON that a run of all parts writes."""


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        items: of the synthetic world whose epoch is timed where there are no posters.
        batches: of the dense form's epoch that are timed.
        ranked: users and items of the full ranking.
        triples: counterfactual scores.
        replaceable: items of the catalogue that they are taken in.
        grown: items at which growth is measured.
        steps: training steps at each of them.
        seeds: of the trainings whose recall is compared.
        epochs: of each training on ml-100k; None is the config's.
        pairs: foreign images.
        encoder_steps: of the dual encoder whose features the trainings on ml-100k read; None is the config's.
    """

    items: int = 9_742
    batches: int = 5
    ranked: tuple[int, int] = (20_000, 7_000)
    triples: int = 10_000
    replaceable: int = 10_000
    grown: tuple[int, ...] = (1_000, 10_000, 100_000, 1_000_000)
    steps: int = 100
    seeds: int = 3
    epochs: int | None = None
    pairs: int = 500
    encoder_steps: int | None = None


QUICK = Sizes(
    items=2_000,
    batches=2,
    ranked=(2_000, 7_000),
    triples=1_000,
    grown=(1_000, 10_000, 30_000),
    steps=20,
    seeds=1,
    epochs=4,
    pairs=30,
    encoder_steps=20,
)
"""Sizes that end within five minutes."""


class RankerBenchmark:
    """All measurements of the ranker; each prints what limits it.

    Args:
        output: receives data sets, trainings and growth.svg.
        sizes: how much is measured.
        data: MovieLens-latest-small with posters; without it the epoch is that of a synthetic world of the same size.
        weights: those that the preset movie-posters asks for.
    """

    PARTS = ("epoch", "full_ranking", "counterfactual", "growth", "recall", "agreement")

    def __init__(
        self, output: Path, sizes: Sizes = Sizes(), *, data: Path | None = None, weights: Path | None = None
    ) -> None:
        self.folder, self.sizes, self.data, self.weights = output, sizes, data, weights
        self.arithmetic, self.memory = arithmetic_rate(), memory_rate()
        print(f"this machine now: {self.arithmetic / 1e9:.0f} GFLOP/s, {self.memory / 1e9:.1f} GB/s, float32")

    def run(self, file: Path | None = None, only: Sequence[str] = ()) -> dict[str, Any]:
        """Measure all parts, or only some, into a JSON file, by default ``ranker.json`` in the output folder.

        Returns:
            Every figure that the file holds afterwards, by name.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        parts: dict[str, Part] = {name: getattr(self, name) for name in self.PARTS}
        return measure(parts, file or self.folder / "ranker.json", only=only, figures=FIGURES)

    def epoch(self) -> dict[str, float]:
        """Speed-up over the dense form at its batch size and at the settings that are recommended."""
        config = self._posters() if self.data is not None else self._synthetic_posters()
        taken = epoch_seconds(config, batches=self.sizes.batches)
        dense, same_batch, recommended = taken["dense"], taken["same_batch"], taken["recommended"]
        same, ours = dense / same_batch, dense / recommended
        print(f"an epoch: dense {dense:.0f} s, ours {same_batch:.2f} s at its batch size (x {same:.0f})")
        print(f"  and {recommended:.2f} s at the recommended one (x {ours:.0f})")
        flop, read = epoch_work(config)
        print(f"  limits there: arithmetic {flop / self.arithmetic:.2f} s, bytes {read / self.memory:.2f} s")
        return {"epoch_speedup": same, "epoch_speedup_recommended": ours}

    def full_ranking(self) -> dict[str, float]:
        """Times slower than the bare product with its top k."""
        n_users, n_items = self.sizes.ranked
        taken = full_ranking_seconds(synthetic(self.folder, n_items, width=16, n_users=n_users, per_item=30))
        print(f"top 10 of {n_items} for {n_users}: {taken['ours']:.2f} s, bare {taken['bare']:.2f} s")
        print(f"  limit: bytes, the scores once out and once in {2 * 4 * n_users * n_items / self.memory:.2f} s")
        return {"full_ranking_vs_product": taken["ours"] / taken["bare"]}

    def counterfactual(self) -> dict[str, float]:
        """Times faster than a rebuild per triple, and times slower than the bare product."""
        # MobileNetV2's 1280 image features.
        triples, items, width = self.sizes.triples, self.sizes.replaceable, 1280
        taken = counterfactual_seconds(synthetic(self.folder, items, width=width), triples=triples)
        faster, slower = taken["rebuilt"] / taken["ours"], taken["ours"] / taken["bare"]
        flop = 2 * triples * items * (width + 64)  # raw and learned features against the catalogue's
        print(f"{triples} counterfactual scores: {taken['ours']:.2f} s, x {faster:.0f} against rebuilding")
        print(f"  {slower:.2f} times the bare product; limit: arithmetic, {flop / self.arithmetic:.2f} s")
        return {"counterfactual_speedup": faster, "counterfactual_vs_product": slower}

    def growth(self) -> dict[str, float | None]:
        """Exponent of time against items, and the peak memory at a million (None if it was not run)."""
        rows = growth(self.folder, self.sizes.grown, self.sizes.steps)
        (self.folder / "growth.json").write_text(json.dumps(rows, indent=1))
        plot_growth(rows, self.folder / "growth.svg")
        slope = exponent(rows)
        print(f"time grows with items^{slope:.2f} from 10,000 up")
        # Adam reads and writes weights and two moments, and reads gradients, of every item and half as many users.
        passes = 7 * 1.5 * rows[-1]["items"] * 64 * 4 / self.memory * self.sizes.steps
        print(f"  limit at the largest: bytes, Adam's pass over all weights alone {passes:.1f} s of the steps")
        memory = rows[-1]["memory_gb"] if rows[-1]["items"] == 1_000_000 else None
        return {"growth_exponent": slope, "memory_gb_1m": memory}

    def recall(self) -> dict[str, list[float]]:
        """Interval of the difference in validation Recall@10 on ml-100k."""
        config = self.ml_100k()
        epochs = self.sizes.epochs or int(config["epochs"])
        it = recall_difference(config, self.folder / "rankers", seeds=self.sizes.seeds, epochs=epochs)
        print(f"validation Recall@10, ours - dense: {it.value:+.4f} [{it.low:+.4f}, {it.high:+.4f}]")
        return {"epoch_recall_difference": [it.low, it.high]}

    def agreement(self) -> dict[str, float]:
        """Rank correlation of the inductive with the exact score on ml-100k: no figure, it goes to agreement.json."""
        config, pairs = self.ml_100k(), self.sizes.pairs
        epochs = self.sizes.epochs or int(config["epochs"])
        folder = self.folder / "rankers" / f"agreement-{epochs}"
        inductive, original = agreement(config, folder, pairs=pairs, epochs=epochs)
        print(f"changes of score by {pairs} foreign images, inductive and exact: rank correlation {inductive:.4f}")
        print(f"  (of the original score with that change: {original:.4f})")
        file = self.folder / "agreement.json"
        file.write_text(json.dumps({"inductive": inductive, "original": original, "pairs": pairs}, indent=1))
        return {}

    def ml_100k(self) -> dict[str, Any]:
        """RecBole's keys of the embedded data set."""
        steps = self.sizes.encoder_steps
        overrides = [] if steps is None else [f"--backbone.encoder_steps={steps}"]
        return Experiment.open("ml-100k-long", overrides, output=self.folder / "ml-100k").ranker.recbole

    def _posters(self) -> dict[str, Any]:
        output = self.folder / "posters"
        return Experiment.open("movie-posters", [], self.data, self.weights, output).ranker.recbole

    def _synthetic_posters(self) -> dict[str, Any]:
        keys = synthetic(self.folder, self.sizes.items, width=512)
        return keys | {"train_batch_size": 4096, "learning_rate": 0.005}
