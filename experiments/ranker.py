"""The results table of the rankers: nine of them and what MICRO is without each of its parts, on one temporal split.

    python experiments/ranker.py --config experiments/configs/ml-100k.yaml --output output/rankers --jobs 2

All rows share the split, the seeds and the config's batch size, epochs and patience. Each ranker is trained at every
point of its grid (below) with the first seed; validation (`valid_metric`) picks one, which is trained with the other
seeds. The test part is read for that point alone. MICRO's reduced rows keep the point that was tuned for whole MICRO,
which favours whole MICRO. A row marked * has its reasons below the table: that one, a chosen value at an end of its
grid (0 is no end: nothing lies below it), or a training that used all its epochs and was best within `eval_step` of
the last.

Intervals are 95 % bootstrap intervals over people, each person's values averaged over seeds; `sd` is the standard
deviation of the mean over seeds. Seconds per epoch are the median over the epochs of the chosen point. `fit s` is the
median over seeds of what construction and all epochs took (ItemKNN does its work when it is constructed), without
validation; – where the training was made before this was measured. Both are wall seconds, taken while `--jobs`
trainings run: with more than one they contend for cores and memory, so compare seconds of --jobs 1. Peak memory is that
of the process that trains, read from /proc (Linux), with the libraries, which are the same for all rows.

Writes <output>/rankers.json after every row: `metrics` are ours, from everybody's ranks; `recbole` is what RecBole's
evaluator says of the same rankers, a value a seed. Beside it <output>/rankers/<row>-ranks.parquet (seed, user, item,
rank of every held-out item) and <row>-lists.parquet (seed, user, item, rank, score of everybody's first ten). Every
training stands in <output>/rankers/<model>/<point>/<seed>: stopped and started again, it continues. --quick (two
epochs, one seed, the first point of every grid) does the same in <output>/quick. Not for `accelerate launch`, as each
training gets a process of its own: several processes share a training under `ragar-rec train-ranker`. Hardware: two
CPU cores; minutes and numbers: docs/results.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import distributed

from recsys.memory import peak_memory
from recsys.recbole import checkpoint
from recsys.recbole.config import with_ranker
from recsys.recbole.models import full_scores
from recsys.recbole.training import load_ranker, train_ranker
from recsys.scoring.metrics import per_user
from recsys.scoring.ranks import held_out_ranks, top_lists, write_parquet
from recsys.scoring.statistics import interval, paired_difference, per_person

RATES = [0.005, 0.015]
GRID: Mapping[str, Mapping[str, Sequence[float]]] = {
    "Pop": {},
    "ItemKNN": {"k": [100, 20, 50, 200]},
    "BPR": {"learning_rate": RATES, "weight_decay": [0.0, 1e-5]},
    "LightGCN": {"learning_rate": RATES, "reg_weight": [1e-4, 1e-2]},
    "VBPR": {"learning_rate": RATES, "reg_weight": [1e-4, 1e-2]},
    "LATTICE": {"learning_rate": RATES, "reg_weight": [1e-5, 1e-3]},
    "BM3": {"learning_rate": RATES, "cl_weight": [2.0, 0.5]},
    "FREEDOM": {"learning_rate": RATES, "dropout": [0.8, 0.5]},
    "MICRO": {"learning_rate": RATES, "cl_weight": [0.03, 0.3]},
}
"""What is tried of each ranker: all combinations."""

WHOLE = "MICRO"
REDUCED: Mapping[str, Mapping[str, Any]] = {
    "MICRO without images": {"modalities": ["text"]},
    "MICRO without text": {"modalities": ["image"]},
    "MICRO without the contrastive loss": {"cl_weight": 0.0},
}
"""What is changed of MICRO; `modalities` are those whose features it keeps."""

METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
TUNED_FOR_WHOLE = f"keeps the point that was tuned for whole {WHOLE}, which favours whole {WHOLE}"
PEAK = "peak.json"
PRELOADED = ["recsys.recbole.training", "recsys.scoring.statistics", "recsys.rankers.micro", "torch._dynamo"]
"""What trainings import, some of it when they first need it; one process pays for all."""

Point = dict[str, Any]


@dataclass(frozen=True)
class Args:
    """What the experiment takes; anything else on the command line overrides the config."""

    config: Path = Path(__file__).parent / "configs" / "ml-100k.yaml"
    data: Path | None = None
    weights: Path | None = None
    output: Path = Path("output") / "rankers"
    models: tuple[str, ...] = (*GRID, *REDUCED)
    seeds: int = 3
    jobs: int = 1
    quick: bool = False


def main() -> None:
    """Train what is missing, write and print the table."""
    if distributed.is_torchelastic_launched():
        sys.exit(
            "experiments/ranker.py starts a process for each training itself: run it by python, with --jobs for "
            "several at a time, not under accelerate launch or torchrun"
        )
    args, overrides = parse()
    from ragar_rec.pipeline import Run, provenance  # Here: what generation imports is no part of a training's memory.

    run = Run.open(args.config, overrides, args.data, args.weights, args.output)
    config = run.ranker.recbole | ({"epochs": 2} if args.quick else {})
    table = Table(config, args.output / "quick" if args.quick else args.output, args)
    for name in args.models:
        table.add(name)
        table.write(provenance(run))
    print("\n" + table.markdown())


def parse() -> tuple[Args, list[str]]:
    """The command line: ours, and what is left for the config."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    for name in ("config", "data", "weights", "output"):
        parser.add_argument(f"--{name}", type=Path, default=getattr(Args, name))
    parser.add_argument(
        "--models", type=lambda text: tuple(text.split(",")), default=Args.models, help="rows, by comma"
    )
    parser.add_argument("--seeds", type=int, default=Args.seeds)
    parser.add_argument("--jobs", type=int, default=Args.jobs, help="trainings at a time, each on one thread")
    parser.add_argument("--quick", action="store_true")
    options, overrides = parser.parse_known_args()
    args = Args(**vars(options))
    if unknown := set(args.models) - set(Args.models):
        parser.error(f"no row is called {', '.join(sorted(unknown))}; there are {', '.join(Args.models)}")
    if args.seeds < 1 or args.jobs < 1:
        parser.error(f"--seeds and --jobs must be at least 1, not {args.seeds} and {args.jobs}")
    return args, overrides


# ---------------------------------------------------------------- one training


def train(config: Mapping[str, Any], folder: Path) -> None:
    """Train unless it is done; leave peak memory and seconds beside the ranker. Runs in a process of its own."""
    before = peak_memory()
    trained = train_ranker(config, folder, progress=False)
    seconds = [row["seconds"] for row in trained.history]
    file = folder / PEAK
    # Seconds tell one training from another: whoever only finds it finished must not replace the peak.
    if not file.is_file() or json.loads(file.read_text())["seconds"] != seconds:
        peak = peak_memory()
        began = time.perf_counter()
        trained.dataset.new_ranker()  # Once more for the clock; the training may have been constructed days ago.
        fit = time.perf_counter() - began + sum(seconds)
        checkpoint.write_json(file, {"seconds": seconds, "bytes": peak, "before": before, "fit": fit})


def train_apart(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """`train` in a new process; returns the ranker's state with its `memory`, in bytes, and `fit`, seconds or None."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=train, args=(config, folder))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"the training in {folder} ended with exit code {process.exitcode}; see its message above")
    state = checkpoint.read_state(folder)
    assert state is not None
    seconds, best = np.median([row["seconds"] for row in state["history"]]), state["best_valid"]
    state["memory"] = json.loads((folder / PEAK).read_text())
    state["fit"] = state["memory"].get("fit")  # None if an earlier version of this experiment trained it.
    print(
        f"{folder.parent.parent.name}/{folder.parent.name}/{folder.name}: validation {best:.4f} after epoch "
        f"{state['best_epoch']} of {state['epoch']}, {seconds:.2f} s an epoch, {state['memory']['bytes'] / 1e9:.2f} GB",
        flush=True,
    )
    return state


# ---------------------------------------------------------------- the table


class Table:
    """Rows as they are finished.

    Args:
        config: RecBole's keys, as they hold for every row.
        output: where results and trainings go.
        args: which seeds, how many trainings at a time, whether one point of a grid is enough.
    """

    def __init__(self, config: dict[str, Any], output: Path, args: Args) -> None:
        self.config, self.output, self.args = config, output, args
        first = config.get("seed", 2020)
        self.seeds = list(range(first, first + (1 if args.quick else args.seeds)))
        self.rows: dict[str, dict[str, Any]] = {}
        self.people: dict[str, dict[str, pd.Series]] = {}  # by row and metric: everybody's mean over seeds
        self.chosen: dict[str, tuple[Point, list[dict[str, Any]]]] = {}
        self.states: dict[Path, dict[str, Any]] = {}  # by folder

    def add(self, name: str) -> None:
        """Choose, train and measure one row."""
        model, change = (WHOLE, REDUCED[name]) if name in REDUCED else (name, {})
        point, tried = self.choose(model)
        settings = {**point, **change}
        states = self.train(name, [(settings, seed) for seed in self.seeds])
        seconds = [row["seconds"] for state in states for row in state["history"]]
        fits = [state["fit"] for state in states]
        ends = [TUNED_FOR_WHOLE] if name in REDUCED else at_the_ends(point, tried)
        self.rows[name] = {
            "row": name,
            "model": model,
            "settings": settings,
            "tried": tried,
            "seeds": self.seeds,
            "validation": [state["best_valid"] for state in states],
            "best_epochs": [state["best_epoch"] for state in states],
            "seconds_per_epoch": float(np.median(seconds)),
            "fit_seconds": None if None in fits else float(np.median(fits)),
            "peak_memory_gb": max(state["memory"]["bytes"] for state in states) / 1e9,
            "memory_before_gb": max(state["memory"]["before"] for state in states) / 1e9,
            "cautions": [*ends, *cut_short(states)],
            **self.measure(name, settings),
        }

    def choose(self, model: str) -> tuple[Point, list[dict[str, Any]]]:
        """The grid's best point on validation, the first of equals; and all that were tried."""
        if model not in self.chosen:
            points = [
                dict(zip(GRID[model], values, strict=True)) for values in itertools.product(*GRID[model].values())
            ]
            points = points[:1] if self.args.quick else points
            states = self.train(model, [(point, self.seeds[0]) for point in points])
            tried = [
                {"settings": p, "validation": state["best_valid"]} for p, state in zip(points, states, strict=True)
            ]
            self.chosen[model] = max(tried, key=lambda one: one["validation"])["settings"], tried
        return self.chosen[model]

    def train(self, name: str, wanted: Sequence[tuple[Point, int]]) -> list[dict[str, Any]]:
        """States of these trainings, `jobs` at a time."""
        runs = {self.folder(name, *one): self.ranker_config(name, *one) for one in wanted}
        missing = [folder for folder in runs if folder not in self.states]
        with ThreadPoolExecutor(self.args.jobs) as pool:
            done = pool.map(lambda folder: train_apart(runs[folder], folder), missing)
            self.states |= zip(missing, done, strict=True)
        return [self.states[folder] for folder in runs]

    def ranker_config(self, name: str, point: Point, seed: int) -> dict[str, Any]:
        """RecBole's keys of one training."""
        keys = {key: value for key, value in point.items() if key != "modalities"}
        config = with_ranker(self.config, WHOLE if name in REDUCED else name) | keys | {"seed": seed}
        features: Mapping[str, str] = self.config["features"]
        return config | {"features": {m: features[m] for m in point.get("modalities", features)}}

    def folder(self, name: str, point: Point, seed: int) -> Path:
        """Where one training stands."""
        said = ",".join(f"{key}={value}" for key, value in point.items() if key != "modalities") or "default"
        return self.output / "rankers" / file_name(name) / said / str(seed)

    def measure(self, name: str, point: Point) -> dict[str, Any]:
        """Test metrics over all seeds, by us with intervals and by RecBole's evaluator; ranks and lists to Parquet."""
        ranks, lists, values, theirs = [], [], [], []
        for seed in self.seeds:
            trained = load_ranker(self.ranker_config(name, point, seed), self.folder(name, point, seed))

            def score(users: Any, ranker: Any = trained.ranker) -> Any:
                return full_scores(ranker, users)

            held_out = held_out_ranks(score, trained.dataset)
            ranks.append(held_out.assign(seed=seed))
            lists.append(top_lists(score, trained.dataset).assign(seed=seed))
            values += [per_user(held_out, k).assign(seed=seed) for k in (10, 20)]
            theirs.append(trained.metrics())
        for what, frames in (("ranks", ranks), ("lists", lists)):
            write_parquet(pd.concat(frames), self.output / "rankers" / f"{file_name(name)}-{what}.parquet")
        frame = pd.concat(values)
        by_metric = {metric: pd.DataFrame(frame[frame["metric"] == metric]) for metric in METRICS}
        self.people[name] = {
            m: per_person(rows["value"].to_numpy(), rows["user"].to_numpy()) for m, rows in by_metric.items()
        }
        return {
            "metrics": {metric: summary(self.people[name][metric], rows) for metric, rows in by_metric.items()},
            "recbole": {metric: [found[metric] for found in theirs] for metric in METRICS if metric in theirs[0]},
        }

    def differences(self) -> dict[str, Any]:
        """MICRO minus every other row, person by person."""
        whole = self.people.get(WHOLE)
        if whole is None:
            return {}
        return {
            name: {metric: asdict(paired_difference(whole[metric], values[metric])) for metric in METRICS}
            for name, values in self.people.items()
            if name != WHOLE
        }

    def write(self, provenance: Mapping[str, Any]) -> None:
        """All finished rows as JSON."""
        content = {"run": provenance, "rows": list(self.rows.values()), f"{WHOLE} minus": self.differences()}
        checkpoint.write_json(self.output / "rankers.json", content)

    def markdown(self) -> str:
        """Two tables, rows with what is to be said of them, and differences to MICRO."""
        titles = [metric.replace("recall", "Recall").replace("ndcg", "NDCG") for metric in METRICS]
        lines = [*header("ranker", *titles, "chosen", "s / epoch", "fit s", "peak GB"), *map(line, self.rows.values())]
        if cautions := [f"{name}: {'; '.join(row['cautions'])}" for name, row in self.rows.items() if row["cautions"]]:
            lines += ["", f"\\* {'. '.join(cautions)}."]
        if differences := self.differences():
            lines += ["", *header("difference", *titles)]
        for name, by_metric in differences.items():
            cells = [f"{d['value']:+.4f} [{d['low']:+.4f}, {d['high']:+.4f}]" for d in by_metric.values()]
            lines.append(f"| {WHOLE} − {name} | {' | '.join(cells)} |")
        return "\n".join(lines)


def at_the_ends(point: Point, tried: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which values of the chosen point are the least or the greatest tried; 0 is no end, as nothing lies below it."""
    axes = {key: [one["settings"][key] for one in tried] for key in point}
    ends = [key for key, values in axes.items() if point[key] and point[key] in (min(values), max(values))]
    return [f"{key} {point[key]} is an end of the grid" for key in ends]


def cut_short(states: Sequence[Mapping[str, Any]]) -> list[str]:
    """The best epochs of trainings that used all `epochs` and were best within `eval_step` of the last."""
    best = []
    for state in states:
        settings = state["identity"]["settings"]
        if state["epoch"] == settings["epochs"] and state["best_epoch"] + settings["eval_step"] >= state["epoch"]:
            best.append(f"best epoch {state['best_epoch']} of {state['epoch']}")
    return list(dict.fromkeys(best))


def summary(people: pd.Series, rows: pd.DataFrame) -> dict[str, Any]:
    """The interval over people, every seed's mean and their standard deviation (None for one seed)."""
    means = rows.groupby("seed")["value"].mean().to_numpy()
    spread = float(np.std(means, ddof=1)) if len(means) > 1 else None
    return asdict(interval(people.to_numpy())) | {"seeds": means.tolist(), "sd": spread}


def file_name(row: str) -> str:
    """The row's name in a path."""
    return row.replace(" ", "-")


def header(*titles: str) -> list[str]:
    """A Markdown table's first two lines."""
    return [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]


def line(row: Mapping[str, Any]) -> str:
    """A row in Markdown."""
    cells = [f"{m['value']:.4f} [{m['low']:.4f}, {m['high']:.4f}]" for m in row["metrics"].values()]
    spreads = [m["sd"] for m in row["metrics"].values()]
    cells = [cell if sd is None else f"{cell} sd {sd:.4f}" for cell, sd in zip(cells, spreads, strict=True)]
    settings = ", ".join(f"{key} {value}" for key, value in row["settings"].items()) or "–"
    fit = "–" if row["fit_seconds"] is None else f"{row['fit_seconds']:.1f}"
    last = (settings, f"{row['seconds_per_epoch']:.2f}", fit, f"{row['peak_memory_gb']:.2f}")
    name = f"{row['row']} \\*" if row["cautions"] else row["row"]
    return f"| {' | '.join((name, *cells, *last))} |"


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"  # Of the trainings, which begin as copies of this environment.
    main()
