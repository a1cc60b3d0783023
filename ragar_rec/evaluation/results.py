"""Results on disk: results.json has a row per number; every row can be recomputed from per_user.parquet."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from ragar_rec.evaluation.finding import Finding
from ragar_rec.evaluation.ownership import ownership_p
from ragar_rec.evaluation.per_user import OWN, PERMUTED_OWNERS, check_per_user
from ragar_rec.evaluation.verdict import Verdict
from recsys.scoring.statistics import Statistic, holm, interval, paired, per_user_mean, visible_gain

BASELINES = ("original", "shuffled_user")
"""Controls with which every other line is compared."""

PRIMARY_PROTOCOL = "candidates"
"""The protocol of the primary endpoint: nobody knows the target there."""

OWN_AGAINST_ALL = ("generator", "diversity", "reading")
"""Protocols in which the own pictures are compared with every control, and the controls with nothing."""

MEDIANS = {"delta_r": "delta_r_median"}
"""Metrics whose mean a few users dominate: each is also given as a median, under this name."""

PROTOCOL_ORDER = ("candidates", "reference", "catalogue", "generator", "diversity", "reading")
CONTROL_ORDER = (
    OWN,
    "original",
    "reconstruction",
    "shuffled_user",
    PERMUTED_OWNERS,
    "everybody",
    "random_item",
    "noise",
    "trained_on_shuffled",
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
    """Seeds, of ``random_item`` draws, that were averaged per user first; what is compared with may have others."""
    training_seeds: int = 1
    """Trainings of ranker and generator behind the number; of two or more the interval holds the variance between
    them too, see :func:`recsys.scoring.statistics.interval`."""
    spread: float | None = None
    """Standard deviation of the number between training seeds; unknown for a single one."""
    p: float | None = None
    """Two-sided p-value of a difference; that of own less permuted owners is one-sided, by the permutations."""
    significant: bool | None = None
    """Whether a difference is one: a primary one by its own p-value, all others after Holm's correction."""
    visible: float | None = None
    """The smallest difference that would have been seen with a probability of 80 %."""


@dataclass(frozen=True)
class Results:
    """The content of results.json."""

    rows: tuple[Row, ...]
    verdicts: tuple[Verdict, ...] = ()
    run: Mapping[str, Any] | None = None
    """Provenance: command, config, versions, seconds."""
    diagnosis: tuple[Finding, ...] = ()
    """What each step of the diagnosis found; empty where none was possible."""

    def write(self, path: Path) -> None:
        """Write as JSON, with null for numbers that are not finite; the file appears under its name only when whole."""
        tree = {
            "rows": [asdict(row) for row in self.rows],
            "verdicts": [verdict.as_dict() for verdict in self.verdicts],
            "diagnosis": [finding.as_dict() for finding in self.diagnosis],
            "run": self.run or {},
        }
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
            verdicts = tuple(Verdict(**verdict) for verdict in tree.get("verdicts", ()))
            diagnosis = tuple(Finding.from_dict(finding) for finding in tree.get("diagnosis", ()))
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is no results file of ragar-rec: {error!r}") from error
        return cls(rows=rows, verdicts=verdicts, run=tree.get("run", {}), diagnosis=diagnosis)


def rows_from_per_user(
    frame: pd.DataFrame,
    dataset: str,
    *,
    ownership: pd.DataFrame | None = None,
    primary: str = "ndcg",
    reward: str | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[Row, ...]:
    """Compute every row of the table from the per-user frame: values, then paired differences, with intervals.

    Seeds are averaged per user first; the intervals of several training seeds hold the variance between them too. The
    median of ``delta_r`` is that of the users' means. Rows come in the order in which systems, protocols, judges,
    metrics and controls first stand in the frame, see :func:`in_table_order`.

    Args:
        frame: see :data:`ragar_rec.evaluation.per_user.COLUMNS`.
        dataset: its name in every row.
        ownership: see :func:`ragar_rec.evaluation.ownership.ownership_p`; the p-values of own less permuted owners.
        primary: the metric, without its cut-off, of the primary endpoints: own less original, and own less permuted
            owners, under ``candidates`` by the judge ``reward``. All other differences are corrected together.
        reward: by default the first judge of the frame.
        resamples: bootstrap resamples of users.
        confidence: coverage of the intervals.
        seed: of the resampling.

    Raises:
        ValueError: a cell lacks a user whom another cell of its table has.
    """
    check_per_user(frame)
    bootstrap: dict[str, Any] = {"resamples": resamples, "confidence": confidence, "seed": seed}
    rows: list[Row] = []
    for key, cell in frame.groupby(["system", "protocol", "judge"], sort=False):
        names = dict(zip(("system", "protocol", "judge"), map(str, cast("tuple[str, str, str]", key)), strict=True))
        for metric, values in cell.groupby("metric", sort=False):
            controls, seeds = by_control(values), values.groupby("control")["seed"].nunique().to_dict()
            for name, statistic in ((str(metric), np.mean), (MEDIANS.get(str(metric)), np.median)):
                if name is None:
                    continue
                for control, compared_with, users in _estimated(names["protocol"], controls):
                    rows.append(
                        Row(
                            dataset,
                            control=control,
                            metric=name,
                            compared_with=compared_with,
                            seeds=seeds[control],
                            **names,
                            **_numbers(users, compared_with, statistic, bootstrap),
                        )
                    )
    check_same_users(frame)
    if ownership is not None:
        rows = [replace(row, p=_ownership_p(row, rows, ownership)) for row in rows]
    reward = reward or (str(frame["judge"].iloc[0]) if len(frame) else "")
    return _with_significance(rows, primary, reward, 1 - confidence)


def by_control(values: pd.DataFrame) -> dict[str, pd.Series | pd.DataFrame]:
    """One value per user for each control of a cell, a column for each training seed if there are several.

    Raises:
        ValueError: a value is missing or not finite.
    """
    found: dict[str, pd.Series | pd.DataFrame] = {}
    for control, group in values.groupby("control", sort=False):
        trained = {
            training_seed: per_user_mean(part["value"].to_numpy(), part["user"].to_numpy())
            for training_seed, part in group.groupby("training_seed")
        }
        table = pd.DataFrame(trained)
        if table.isna().to_numpy().any():
            raise ValueError(f"training seeds {list(trained)} were judged on different people under {control}")
        found[str(control)] = table.iloc[:, 0] if len(trained) == 1 else table
    return found


def check_same_users(frame: pd.DataFrame) -> None:
    """Check that the systems of one table were judged on the same users.

    Raises:
        ValueError: they were not.
    """
    for key, table in frame.groupby(["protocol", "judge"], sort=False):
        protocol, judge = cast("tuple[str, str]", key)
        users = {system: set(rows["user"]) for system, rows in table.groupby("system", sort=False)}
        (first, known), *others = users.items()
        for system, found in others:
            if found != known:
                raise ValueError(
                    f"{system} and {first} were judged on different people under {protocol} by {judge}: "
                    f"{len(found ^ known)} of {len(found | known)} are in one of the two alone"
                )


def _estimated(
    protocol: str, controls: Mapping[str, pd.Series | pd.DataFrame]
) -> Iterator[tuple[str, str | None, pd.Series | pd.DataFrame]]:
    """(control, compared with, values per user): for each control its values, then its paired differences."""
    for control, values in controls.items():
        yield control, None, values
        for other in _compared_with(protocol, control, controls):
            yield control, other, paired(values, controls[other])


def _numbers(
    users: pd.Series | pd.DataFrame, compared_with: str | None, statistic: Statistic, bootstrap: Mapping[str, Any]
) -> dict[str, Any]:
    """The fields of a row that follow from one value per user and training seed."""
    values = users.to_numpy()
    estimate = interval(values, statistic=statistic, **bootstrap)
    numbers = {"value": estimate.value, "low": estimate.low, "high": estimate.high, "users": estimate.n}
    if values.ndim == 2:
        spread = float(np.std(statistic(values, axis=0), ddof=1))
        numbers |= {"training_seeds": values.shape[1], "spread": spread}
    if compared_with is not None:
        numbers |= {"p": estimate.p, "visible": visible_gain(estimate.error, confidence=bootstrap["confidence"])}
    return numbers


def _ownership_p(row: Row, rows: Sequence[Row], ownership: pd.DataFrame) -> float | None:
    """The p-value of the permutation test where there is one, else the row's own."""
    if row.compared_with != PERMUTED_OWNERS:
        return row.p
    cell = {name: getattr(row, name) for name in ("system", "protocol", "judge", "metric")}
    own = next(
        other.value
        for other in rows
        if other.control == OWN and other.compared_with is None and cell.items() <= asdict(other).items()
    )
    return ownership_p(ownership, own, **cell)


def _with_significance(rows: Sequence[Row], primary: str, reward: str, alpha: float) -> tuple[Row, ...]:
    """Decide which differences are significant: primary ones alone, all others together (Holm 1979)."""

    def is_primary(row: Row) -> bool:
        cell = (row.protocol, row.judge, row.control, row.metric.partition("@")[0])
        return cell == (PRIMARY_PROTOCOL, reward, OWN, primary) and row.compared_with in ("original", PERMUTED_OWNERS)

    secondary = [at for at, row in enumerate(rows) if row.p is not None and not is_primary(row)]
    rejected = holm([cast("float", rows[at].p) for at in secondary], alpha)
    significant = dict(zip(secondary, rejected, strict=True))
    return tuple(
        row if row.p is None else replace(row, significant=significant.get(at, row.p <= alpha))
        for at, row in enumerate(rows)
    )


def _compared_with(protocol: str, control: str, controls: Mapping[str, Any]) -> list[str]:
    """The controls that this one is compared with under this protocol."""
    if protocol in OWN_AGAINST_ALL:
        return [other for other in controls if control == OWN and other != OWN]
    baselines = (*BASELINES, PERMUTED_OWNERS) if control == OWN else BASELINES
    return [other for other in baselines if other in controls and other != control]


def in_table_order(frame: pd.DataFrame, reward: str | None = None) -> pd.DataFrame:
    """Sort a per-user frame as the tables show it: by protocol, metric and control, the own pictures first.

    Args:
        frame: see :data:`ragar_rec.evaluation.per_user.COLUMNS`.
        reward: the judge that comes first under every protocol.
    """
    orders = (("protocol", PROTOCOL_ORDER), ("metric", METRIC_ORDER), ("control", CONTROL_ORDER))
    # A metric's name without its cut-off: recall@10 is sorted as recall. A stable sort keeps the order of users.
    keys = {
        f"_{column}": frame[column].str.partition("@")[0].map({name: at for at, name in enumerate(order)})
        for column, order in orders
    }
    if reward is not None:
        keys = {"_protocol": keys.pop("_protocol"), "_judge": frame["judge"] != reward, **keys}
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
