"""Results on disk: results.json, a row per number, and per_user.parquet, from which every row can be recomputed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from ragar_rec.evaluation.per_user import OWN, _check
from recsys.scoring.statistics import Interval, interval, paired_difference, per_person

COMPARED_WITH = ("original", "shuffled_user")


EVERYTHING = ("generator", "diversity")
"""Protocols in which the own picture is compared with every other line."""


MEDIANS = {"delta_r": "delta_r_median"}
"""Metrics whose mean a few people dominate; their median is given under a name of its own."""


PROTOCOLS = ("candidates", "reference", "generator", "diversity")
CONTROLS = (
    OWN,
    "original",
    "reconstruction",
    "shuffled_user",
    "random_item",
    "reference_image",
    "global",
    "untrained",
    "seeds",
)
METRICS = ("recall", "ndcg", "delta_r", "score", "feature_distance", "thumbnail_distance")


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
    """People behind the number."""
    seeds: int
    """Seeds that were averaged per person before anything else."""


@dataclass(frozen=True)
class Results:
    """The whole of results.json."""

    rows: tuple[Row, ...]
    verdicts: tuple[Mapping[str, Any], ...] = ()
    run: Mapping[str, Any] | None = None
    """Provenance: command, config, versions, seconds."""

    def write(self, path: Path) -> None:
        """Write as JSON; a number that is not finite becomes null; under its name the file is always whole."""
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
    """Every row of the table from the per-user frame: values, then paired differences, with bootstrap intervals.

    Seeds are averaged per person first. The median of ``delta_r`` is that of people's means. Rows come in the order in
    which systems, protocols, judges, metrics and controls first stand in the frame.
    """
    _check(frame)
    how: dict[str, Any] = {"resamples": resamples, "confidence": confidence, "seed": seed}
    rows: list[Row] = []
    for key, cell in frame.groupby(["system", "protocol", "judge"], sort=False):
        system, protocol, judge = cast("tuple[str, str, str]", key)
        for metric, values in cell.groupby("metric", sort=False):
            people = {
                control: per_person(group["value"].to_numpy(), group["user"].to_numpy())
                for control, group in values.groupby("control", sort=False)
            }
            seeds = int(values["seed"].nunique())
            for name, statistic in ((metric, np.mean), (MEDIANS.get(str(metric)), np.median)):
                if name is None:
                    continue
                for control, mine in people.items():
                    found: dict[str | None, Interval] = {None: interval(mine.to_numpy(), statistic=statistic, **how)}
                    for other in _compared(str(protocol), str(control), people):
                        found[other] = paired_difference(mine, people[other], statistic=statistic, **how)
                    rows += [
                        Row(
                            dataset,
                            str(system),
                            str(protocol),
                            str(control),
                            str(judge),
                            str(name),
                            it.value,
                            it.low,
                            it.high,
                            other,
                            it.n,
                            seeds,
                        )
                        for other, it in found.items()
                    ]
    return tuple(rows)


def in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of the tables: protocols, metrics, and the own pictures before their controls."""
    places = (("protocol", PROTOCOLS), ("metric", METRICS), ("control", CONTROLS))
    keys = {
        f"_{column}": frame[column].str.partition("@")[0].map({name: at for at, name in enumerate(names)})
        for column, names in places
    }
    return frame.assign(**keys).sort_values(list(keys), kind="stable").drop(columns=list(keys))


def _compared(protocol: str, control: str, people: Mapping[Any, pd.Series]) -> list[str]:
    """What a control's values are compared with: under ``generator`` and ``diversity``, own with everything else."""
    if protocol in EVERYTHING:
        return [str(other) for other in people if control == OWN and other != OWN]
    return [other for other in COMPARED_WITH if other in people and other != control]


def _finite(value: Any) -> Any:
    """Plain data with null where a number is not finite: JSON has no word for it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value
