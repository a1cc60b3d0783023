"""Results on disk: results.json has a row per number; every row can be recomputed from per_user.parquet."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from ragar_rec.evaluation.per_user import OWN, check_per_user
from recsys.scoring.statistics import Interval, Statistic, interval, paired_difference, per_user_mean

BASELINES = ("original", "shuffled_user")
"""Controls with which every other line is compared."""

OWN_AGAINST_ALL = ("generator", "diversity")
"""Protocols in which the own pictures are compared with every control, and the controls with nothing."""

MEDIANS = {"delta_r": "delta_r_median"}
"""Metrics whose mean a few users dominate: each is also given as a median, under this name."""

PROTOCOL_ORDER = ("candidates", "catalogue", "reference", "generator", "diversity")
CONTROL_ORDER = (
    OWN,
    "original",
    "reconstruction",
    "shuffled_user",
    "random_item",
    "noise",
    "everybody",
    "reference_image",
    "global",
    "untrained",
    "seeds",
)
METRIC_ORDER = ("recall", "ndcg", "delta_r", "score", "feature_distance", "thumbnail_distance")


@dataclass(frozen=True)
class Row:
    """One number of the table, with its interval; a paired difference where ``compared_with`` names a control."""

    dataset: str
    system: str
    protocol: str
    control: str
    judge: str
    metric: str
    value: float
    low: float | None
    high: float | None
    compared_with: str | None
    users: int
    """Users behind the number."""
    seeds: int
    """Seeds that were averaged per user before anything else."""


@dataclass(frozen=True)
class Results:
    """The content of results.json."""

    rows: tuple[Row, ...]
    verdicts: tuple[Mapping[str, Any], ...] = ()
    run: Mapping[str, Any] | None = None
    """Provenance: command, config, versions, seconds."""

    def write(self, path: Path) -> None:
        """Write as JSON, with null for numbers that are not finite; the file appears under its name only when whole."""
        tree = {"rows": [asdict(row) for row in self.rows], "verdicts": list(self.verdicts), "run": self.run or {}}
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text(json.dumps(_finite(tree), indent=1, ensure_ascii=False, allow_nan=False), encoding="utf-8")
        temporary.replace(path)

    @classmethod
    def read(cls, path: Path) -> Results:
        """Read what :meth:`write` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no results file.
        """
        if not path.is_file():
            raise FileNotFoundError(f"no results at {path}; run `ragar-rec evaluate` first")
        try:
            tree = json.loads(path.read_text(encoding="utf-8"))
            names = [entry.name for entry in fields(Row)]
            rows = tuple(Row(**{name: row[name] for name in names}) for row in tree["rows"])
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is no results file of ragar-rec: {error!r}") from error
        return cls(rows=rows, verdicts=tuple(tree.get("verdicts", ())), run=tree.get("run", {}))


def rows_from_per_user(
    frame: pd.DataFrame, dataset: str, *, resamples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> tuple[Row, ...]:
    """Compute every row of the table from the per-user frame: values, then paired differences, with intervals.

    Seeds are averaged per user first. The median of ``delta_r`` is that of the users' means. Rows come in the order in
    which systems, protocols, judges, metrics and controls first stand in the frame, see :func:`in_table_order`.

    Args:
        frame: see :data:`ragar_rec.evaluation.per_user.COLUMNS`.
        dataset: its name in every row.
        resamples: bootstrap resamples of users.
        confidence: coverage of the intervals.
        seed: of the resampling.
    """
    check_per_user(frame)
    bootstrap: dict[str, Any] = {"resamples": resamples, "confidence": confidence, "seed": seed}
    rows: list[Row] = []
    for key, cell in frame.groupby(["system", "protocol", "judge"], sort=False):
        system, protocol, judge = cast("tuple[str, str, str]", key)
        for metric, values in cell.groupby("metric", sort=False):
            by_control = {
                control: per_user_mean(group["value"].to_numpy(), group["user"].to_numpy())
                for control, group in values.groupby("control", sort=False)
            }
            seeds = int(values["seed"].nunique())
            for name, statistic in ((metric, np.mean), (MEDIANS.get(str(metric)), np.median)):
                if name is None:
                    continue
                rows += [
                    Row(
                        dataset,
                        str(system),
                        str(protocol),
                        str(control),
                        str(judge),
                        str(name),
                        estimate.value,
                        estimate.low,
                        estimate.high,
                        compared_with,
                        estimate.n,
                        seeds,
                    )
                    for control, compared_with, estimate in _estimates(str(protocol), by_control, statistic, bootstrap)
                ]
    return tuple(rows)


def _estimates(
    protocol: str, by_control: Mapping[Any, pd.Series], statistic: Statistic, bootstrap: Mapping[str, Any]
) -> Iterator[tuple[Any, str | None, Interval]]:
    """(control, compared with, interval): for each control its value, then its paired differences."""
    for control, values in by_control.items():
        yield control, None, interval(values.to_numpy(), statistic=statistic, **bootstrap)
        for other in _compared_with(protocol, str(control), by_control):
            yield control, other, paired_difference(values, by_control[other], statistic=statistic, **bootstrap)


def _compared_with(protocol: str, control: str, by_control: Mapping[Any, pd.Series]) -> list[str]:
    """The controls that this one is compared with under this protocol."""
    if protocol in OWN_AGAINST_ALL:
        return [str(other) for other in by_control if control == OWN and other != OWN]
    return [other for other in BASELINES if other in by_control and other != control]


def in_table_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Sort a per-user frame as the tables show it: by protocol, metric and control, the own pictures first."""
    orders = (("protocol", PROTOCOL_ORDER), ("metric", METRIC_ORDER), ("control", CONTROL_ORDER))
    # A metric's name without its cut-off: recall@10 is sorted as recall. A stable sort keeps the order of users.
    keys = {
        f"_{column}": frame[column].str.partition("@")[0].map({name: at for at, name in enumerate(order)})
        for column, order in orders
    }
    return frame.assign(**keys).sort_values(list(keys), kind="stable").drop(columns=list(keys))


def _finite(value: Any) -> Any:
    """Plain data with null where a number is not finite: JSON has no word for it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value
