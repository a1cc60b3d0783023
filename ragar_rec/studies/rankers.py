"""The table of rankers: each tuned on validation, trained with several seeds, and measured on one test split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ragar_rec.studies.grids import GRIDS, REDUCED, WHOLE, Grid, Point, at_the_ends, points
from ragar_rec.studies.ranker_text import METRICS, table_text
from ragar_rec.studies.training_process import cut_short, train_apart
from recsys.recbole import checkpoint
from recsys.recbole.keys import with_ranker
from recsys.recbole.models import full_scores
from recsys.recbole.training import load_ranker
from recsys.scoring.metrics import per_user
from recsys.scoring.ranks import held_out_ranks, top_lists, write_parquet
from recsys.scoring.statistics import interval, paired_difference, per_user_mean

TUNED_FOR_WHOLE = f"keeps the point that was tuned for whole {WHOLE}, which favours whole {WHOLE}"


class RankerTable:
    """Rows as they are finished.

    Args:
        config: RecBole's keys, as they hold for every row.
        output: where results and trainings go.
        n_seeds: trainings of each row's chosen point, the first with the config's seed.
        jobs: trainings at a time.
        first_point: take the first point of every grid instead of tuning.
        grids: of the rankers, by row.
    """

    def __init__(
        self,
        config: dict[str, Any],
        output: Path,
        *,
        n_seeds: int = 3,
        jobs: int = 1,
        first_point: bool = False,
        grids: Mapping[str, Grid] = GRIDS,
    ) -> None:
        self.config, self.output, self.jobs = config, output, jobs
        self.first_point, self.grids = first_point, grids
        first = config.get("seed", 2020)
        self.seeds = list(range(first, first + n_seeds))
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
        ends = [TUNED_FOR_WHOLE] if name in REDUCED else at_the_ends(point, tried)
        self.rows[name] = {
            "row": name,
            "model": model,
            "settings": settings,
            "tried": tried,
            "seeds": self.seeds,
            "validation": [state["best_valid"] for state in states],
            "best_epochs": [state["best_epoch"] for state in states],
            **_costs(states),
            "cautions": [*ends, *cut_short(states)],
            **self.measure(name, settings),
        }

    def choose(self, model: str) -> tuple[Point, list[dict[str, Any]]]:
        """The grid's best point on validation, the first of equals; and all that were tried."""
        if model not in self.chosen:
            candidates = points(self.grids[model])[: 1 if self.first_point else None]
            # One seed: the test part is not read, and the other seeds are for the chosen point alone.
            states = self.train(model, [(point, self.seeds[0]) for point in candidates])
            tried = [
                {"settings": point, "validation": state["best_valid"]}
                for point, state in zip(candidates, states, strict=True)
            ]
            self.chosen[model] = max(tried, key=lambda entry: entry["validation"])["settings"], tried
        return self.chosen[model]

    def train(self, name: str, trainings: Sequence[tuple[Point, int]]) -> list[dict[str, Any]]:
        """States of these (point, seed) trainings, `jobs` at a time."""
        configs = {self.folder(name, *training): self.ranker_config(name, *training) for training in trainings}
        missing = [folder for folder in configs if folder not in self.states]
        # Threads only wait: each training has a process of its own.
        with ThreadPoolExecutor(self.jobs) as pool:
            done = pool.map(lambda folder: train_apart(configs[folder], folder), missing)
            self.states |= zip(missing, done, strict=True)
        return [self.states[folder] for folder in configs]

    def ranker_config(self, name: str, point: Point, seed: int) -> dict[str, Any]:
        """RecBole's keys of one training."""
        keys = {key: value for key, value in point.items() if key != "modalities"}
        config = with_ranker(self.config, WHOLE if name in REDUCED else name) | keys | {"seed": seed}
        features: Mapping[str, str] = self.config["features"]
        return config | {"features": {m: features[m] for m in point.get("modalities", features)}}

    def folder(self, name: str, point: Point, seed: int) -> Path:
        """Where one training stands."""
        keys = ",".join(f"{key}={value}" for key, value in point.items() if key != "modalities") or "default"
        return self.output / "rankers" / _file_name(name) / keys / str(seed)

    def measure(self, name: str, point: Point) -> dict[str, Any]:
        """Test metrics over all seeds, by us with intervals and by RecBole's evaluator; ranks and lists to Parquet."""
        ranks, lists, values, by_recbole = [], [], [], []
        for seed in self.seeds:
            trained = load_ranker(self.ranker_config(name, point, seed), self.folder(name, point, seed))

            def score(users: Any, ranker: Any = trained.ranker) -> Any:
                return full_scores(ranker, users)

            held_out = held_out_ranks(score, trained.dataset)
            ranks.append(held_out.assign(seed=seed))
            lists.append(top_lists(score, trained.dataset).assign(seed=seed))
            values += [per_user(held_out, k).assign(seed=seed) for k in (10, 20)]
            by_recbole.append(trained.metrics())
        for kind, frames in (("ranks", ranks), ("lists", lists)):
            write_parquet(pd.concat(frames), self.output / "rankers" / f"{_file_name(name)}-{kind}.parquet")
        frame = pd.concat(values)
        by_metric = {metric: pd.DataFrame(frame[frame["metric"] == metric]) for metric in METRICS}
        self.people[name] = {
            m: per_user_mean(rows["value"].to_numpy(), rows["user"].to_numpy()) for m, rows in by_metric.items()
        }
        return {
            "metrics": {metric: _summary(self.people[name][metric], rows) for metric, rows in by_metric.items()},
            "recbole": {m: [metrics[m] for metrics in by_recbole] for m in METRICS if m in by_recbole[0]},
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
        """Write all finished rows to rankers.json."""
        content = {"run": provenance, "rows": list(self.rows.values()), f"{WHOLE} minus": self.differences()}
        checkpoint.write_json(self.output / "rankers.json", content)

    def markdown(self) -> str:
        """Two tables: rows with their cautions, and differences to MICRO."""
        return table_text(self.rows, self.differences())


def _costs(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Seconds and memory of a row's trainings; ``fit_seconds`` is None where one was not timed."""
    seconds = [row["seconds"] for state in states for row in state["history"]]
    fits = [state["fit"] for state in states]
    return {
        "seconds_per_epoch": float(np.median(seconds)),
        "fit_seconds": None if None in fits else float(np.median(fits)),
        "peak_memory_gb": max(state["memory"]["bytes"] for state in states) / 1e9,
        "memory_before_gb": max(state["memory"]["before"] for state in states) / 1e9,
    }


def _summary(people: pd.Series, rows: pd.DataFrame) -> dict[str, Any]:
    """The interval over people, every seed's mean and their standard deviation (None for one seed)."""
    means = rows.groupby("seed")["value"].mean().to_numpy()
    spread = float(np.std(means, ddof=1)) if len(means) > 1 else None
    return asdict(interval(people.to_numpy())) | {"seeds": means.tolist(), "sd": spread}


def _file_name(row: str) -> str:
    return row.replace(" ", "-")
