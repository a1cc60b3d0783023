"""Whether rankers use the pictures that they are given: permuted at the test, and permuted from the first epoch on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ragar_rec.studies.grids import Point
from ragar_rec.studies.markdown import interval_text, markdown_table
from ragar_rec.studies.training_process import train_apart
from recsys.features import FeatureTable
from recsys.recbole import checkpoint
from recsys.recbole.keys import with_ranker
from recsys.recbole.models import full_scores
from recsys.recbole.registry import reads_pictures
from recsys.recbole.training import TrainedRanker, load_ranker
from recsys.scoring.metrics import per_user
from recsys.scoring.ranks import Candidates, held_out_ranks, write_parquet
from recsys.scoring.statistics import interval, paired_difference, per_user_mean

POINTS: Mapping[str, Point] = {
    "Pop": {},
    "ItemKNN": {"k": 20},
    "EASE": {},
    "LightGCN": {"learning_rate": 0.015, "reg_weight": 1e-4},
    "VBPR": {"learning_rate": 0.005, "reg_weight": 1e-4},
    "LATTICE": {"learning_rate": 0.005, "reg_weight": 1e-5},
    "FREEDOM": {"learning_rate": 0.005, "dropout": 0.8},
    "MICRO": {"learning_rate": 0.015, "cl_weight": 0.03},
}
"""Settings of each ranker: those that the table of rankers on movie-posters chose on validation (docs/results.md)."""

METRICS = ("recall@10", "ndcg@10")

Values = dict[str, pd.Series]
"""By metric: every user's mean over seeds."""


class PictureUse:
    """Rankers with their own pictures, with permuted ones at the test, and trained on permuted ones.

    Args:
        config: RecBole's keys, as they hold for every row.
        output: where tables of features, trainings and results go.
        n_seeds: trainings of each row; each seed draws a permutation of its own.
        jobs: trainings at a time.
    """

    def __init__(self, config: dict[str, Any], output: Path, *, n_seeds: int = 3, jobs: int = 1) -> None:
        self.config, self.output, self.jobs = config, output, jobs
        first = config.get("seed", 2020)
        self.seeds = range(first, first + n_seeds)
        self.rows: dict[str, dict[str, Any]] = {}

    def add(self, model: str) -> None:
        """Train and measure one row."""
        reads = reads_pictures(model)
        kinds = ("own", "shuffled") if reads else ("own",)
        self._train([(model, kind, seed) for kind in kinds for seed in self.seeds])
        frame = pd.concat(self._values(model, reads=reads), ignore_index=True)
        write_parquet(frame, self.output / "picture_use" / f"{model}.parquet")
        self.rows[model] = {"model": model, "settings": POINTS[model], "seeds": [*self.seeds], **summary(frame)}

    def write(self, provenance: Mapping[str, Any]) -> None:
        """Write all finished rows to picture_use.json."""
        checkpoint.write_json(self.output / "picture_use.json", {"run": provenance, "rows": [*self.rows.values()]})

    def _train(self, trainings: Sequence[tuple[str, str, int]]) -> None:
        """Finish these (model, kind of pictures, seed) trainings, `jobs` at a time."""
        # Threads only wait: each training has a process of its own.
        with ThreadPoolExecutor(self.jobs) as pool:
            list(pool.map(lambda key: train_apart(self._ranker_config(*key), self._folder(*key)), trainings))

    def _values(self, model: str, *, reads: bool) -> Iterator[pd.DataFrame]:
        """Everybody's test metrics by seed and kind of pictures; under `COLD` also among all items."""
        for seed in self.seeds:
            config, folder = self._ranker_config(model, "own", seed), self._folder(model, "own", seed)
            rankers = {"own": load_ranker(config, folder)}
            if reads:
                rankers["permuted"] = rankers["own"].with_features({"image": self._permuted(seed)})
                shuffled = self._ranker_config(model, "shuffled", seed), self._folder(model, "shuffled", seed)
                rankers["shuffled"] = load_ranker(*shuffled)
            for kind, trained in rankers.items():
                yield _metrics(trained, "split").assign(seed=seed, pictures=kind)
                if trained.dataset.config.is_cold_start:
                    yield _metrics(trained, "all").assign(seed=seed, pictures=f"{kind} among all")

    def _ranker_config(self, model: str, kind: str, seed: int) -> dict[str, Any]:
        """RecBole's keys of one training."""
        features = dict(self.config["features"])
        if kind == "shuffled":
            features["image"] = str(self._permuted(seed))
        return with_ranker(self.config, model) | POINTS[model] | {"seed": seed, "features": features}

    def _permuted(self, seed: int) -> Path:
        """The image features, permuted among the items that have any."""
        file = self.output / "picture_use" / f"image-permuted-{seed}.safetensors"
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            FeatureTable.read(self.config["features"]["image"]).permuted(seed).write(file)
        return file

    def _folder(self, model: str, kind: str, seed: int) -> Path:
        return self.output / "picture_use" / model / kind / str(seed)

    def markdown(self) -> str:
        """The table of all finished rows."""
        return use_table(self.rows)


def _metrics(trained: TrainedRanker, candidates: Candidates) -> pd.DataFrame:
    ranks = held_out_ranks(lambda users: full_scores(trained.ranker, users), trained.dataset, candidates=candidates)
    return per_user(ranks, 10)


def summary(frame: pd.DataFrame) -> dict[str, Any]:
    """Intervals over people of the means over seeds, and of the paired differences between kinds of pictures.

    Args:
        frame: columns user, metric, value, seed and pictures (``own``, ``permuted``, ``shuffled``, each of them also
            with `` among all``).

    Returns:
        By kind of pictures, then metric: an interval with ``sd``, the standard deviation of the mean over seeds; under
        ``own − permuted`` and ``own − shuffled`` the differences.
    """
    found: dict[str, dict[str, Any]] = {}
    people: dict[str, Values] = {}
    for (kind, metric), rows in frame.groupby(["pictures", "metric"], sort=False):  # pyright: ignore[reportGeneralTypeIssues]
        values = per_user_mean(rows["value"].to_numpy(), rows["user"].to_numpy())
        people.setdefault(kind, {})[metric] = values
        means = rows.groupby("seed")["value"].mean().to_numpy()
        spread = float(np.std(means, ddof=1)) if len(means) > 1 else None
        found.setdefault(kind, {})[metric] = asdict(interval(values.to_numpy())) | {"sd": spread}
    for kind in ("permuted", "shuffled"):
        if kind in people:
            found[f"own − {kind}"] = {
                metric: asdict(paired_difference(people["own"][metric], people[kind][metric])) for metric in METRICS
            }
    return found


def use_table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """A row a ranker: its metrics, and what goes when its pictures are permuted; – where it reads none."""
    cold = any("own among all" in row for row in rows.values())
    titles = ["ranker", "Recall@10", "NDCG@10"]
    titles += [f"{m}, own − {kind}" for kind in ("permuted", "trained on shuffled") for m in ("Recall@10", "NDCG@10")]
    return markdown_table([*titles, *(["Recall@10 among all"] if cold else [])], map(_cells, rows.values()))


def _cells(row: Mapping[str, Any]) -> list[str]:
    cells = [row["model"]]
    for metric in METRICS:
        spread = row["own"][metric]["sd"]
        cells.append(interval_text(row["own"][metric], ".4f") + ("" if spread is None else f" ± {spread:.4f}"))
    for kind in ("own − permuted", "own − shuffled"):
        cells += [interval_text(row[kind][metric]) if kind in row else "–" for metric in METRICS]
    if "own among all" in row:
        cells.append(interval_text(row["own among all"]["recall@10"], ".4f"))
    return cells
