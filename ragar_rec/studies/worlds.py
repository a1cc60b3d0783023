"""Planted worlds in numbers: estimates beside the truth, and how often the verdict is right."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import repeat
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure
from scipy.stats import binomtest

from ragar_rec.evaluation.worlds.scenarios import SCENARIOS
from ragar_rec.evaluation.worlds.trial import Outcome, Settings, trial
from ragar_rec.studies.markdown import interval_text, markdown_table
from recsys.features import FeatureTable
from recsys.scoring.statistics import interval

ESTIMATES = ("truth", "candidates", "reference", "personal_truth", "stranger")
"""Columns of a row that are means over people; `candidates` also has the ends of its 95 % interval."""


def rows_of(outcome: Outcome) -> list[dict[str, object]]:
    """A row for each ranker of a trial: means over people, and the verdict for each alpha."""
    rows = []
    for measured in outcome.measurements:
        ends = interval(measured.candidates)
        row: dict[str, object] = {"world": outcome.world, "seed": outcome.seed, "ranker": measured.ranker}
        row |= {"original": measured.original.mean()}
        row |= {name: getattr(measured, name).mean() for name in ESTIMATES}
        row |= {"low": ends.low, "high": ends.high, "reading": measured.reading.mean()}
        row |= {"permuted": np.nan if measured.permuted is None else measured.permuted.mean()}
        row |= {"ownership_p": measured.ownership_p}
        for alpha, verdict in outcome.verdicts.items():
            row |= {f"verdict {alpha}": verdict.rule, f"right {alpha}": outcome.is_right(alpha)}
        rows.append(row)
    return rows


def run_trials(
    names: Sequence[str],
    seeds: Sequence[int],
    features: Path | None,
    *,
    jobs: int = 1,
    settings: Settings | None = None,
) -> pd.DataFrame:
    """The rows of every world and seed, in the order in which they are named.

    Args:
        names: of :data:`SCENARIOS`.
        seeds: a trial each.
        features: a file of a feature table (`FeatureTable.read`), whose rows become the items; None: Gaussian clouds.
        jobs: trials at a time, each in a process of its own.
        settings: of the trials.
    """
    values = None if features is None else FeatureTable.read(features).values
    trials = [(name, seed) for seed in seeds for name in names]
    arguments = zip(trials, repeat(settings or Settings()), repeat(values), strict=False)
    if jobs == 1:
        found = [_rows(argument) for argument in arguments]
    else:
        with multiprocessing.get_context("spawn").Pool(jobs) as pool:
            found = pool.map(_rows, arguments, chunksize=1)
    frame = pd.DataFrame([row for rows in found for row in rows])
    order = frame["world"].map(list(names).index)
    return frame.assign(order=order).sort_values(["order", "seed"], kind="stable").drop(columns="order")


def _rows(
    arguments: tuple[tuple[str, int], Settings, Float[np.ndarray, "pictures width"] | None],
) -> list[dict[str, object]]:
    (name, seed), settings, features = arguments
    return rows_of(trial(name, seed, settings, features))


def estimates_table(frame: pd.DataFrame) -> str:
    """Markdown: for each world and ranker the truth and what the protocols estimate, means over seeds."""
    titles = ["world", "ranker", "truth", "`candidates`", "its interval holds the truth", "`reference`"]
    titles += ["personal, truth", "own less a stranger's", "own less permuted owners"]
    rows = []
    for key, group in frame.groupby(["world", "ranker"], sort=False):
        held = ((group["low"] <= group["truth"]) & (group["truth"] <= group["high"])).mean()
        cells = [_over_seeds(group[name]) for name in (*ESTIMATES, "permuted")]
        rows.append([*map(str, cast(tuple[str, str], key)), *cells[:2], f"{held:.0%}", *cells[2:]])
    return markdown_table(titles, rows)


def verdicts_table(frame: pd.DataFrame) -> str:
    """Markdown: for each world the right verdict, and how often each verdict was given."""
    alphas = [column.removeprefix("right ") for column in frame.columns if column.startswith("right ")]
    rows = []
    for world, group in _per_trial(frame).groupby("world", sort=False):
        right = SCENARIOS[str(world)].right
        for alpha in alphas:
            share = share_right(group, alpha) if right else "–"
            given = ", ".join(f"{rule} {n}" for rule, n in group[f"verdict {alpha}"].value_counts().items())
            rows.append([str(world), " or ".join(right) or "no log can tell", alpha, share, given])
    return markdown_table(["world", "right", "alpha", "right verdicts [95 %]", "verdicts given"], rows)


def share_right(trials: pd.DataFrame, alpha: str) -> str:
    """``97 of 100 [91 %, 99 %]``, the exact binomial interval (Clopper and Pearson 1934)."""
    n, right = len(trials), int(trials[f"right {alpha}"].sum())
    ends = binomtest(right, n).proportion_ci()
    return f"{right} of {n} [{ends.low:.0%}, {ends.high:.0%}]"


def plot_estimates(frame: pd.DataFrame, file: Path) -> None:
    """Estimate against truth by the reward ranker, a point a trial: `candidates` and `reference` side by side."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    trials = _per_trial(frame)
    panels = figure.subplots(1, 2)
    for axes, protocol in zip(panels, ("candidates", "reference"), strict=True):
        for world, group in trials.groupby("world", sort=False):
            axes.plot(group["truth"], group[protocol], "o", markersize=3, alpha=0.6, label=world)
        ends = [trials["truth"].min(), trials["truth"].max()]
        axes.plot(ends, ends, "--", color="grey")
        axes.set(xlabel="true gain of NDCG@10", ylabel=f"gain estimated under {protocol}")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    # Without a date, equal figures are equal files.
    figure.savefig(file, metadata={"Date": None})


def _per_trial(frame: pd.DataFrame) -> pd.DataFrame:
    """The reward ranker's rows."""
    return frame.drop_duplicates(["world", "seed"])


def _over_seeds(values: Iterable[float]) -> str:
    known = [value for value in values if np.isfinite(value)]
    return interval_text(asdict(interval(known))) if known else "–"
