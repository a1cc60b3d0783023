"""Results on disk: results.json, a row per number, and per_user.parquet, from which every row can be recomputed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

COLUMNS = ("user", "system", "protocol", "control", "judge", "seed", "metric", "value")
"""Of the per-user frame: one value per person, seed and cell of the table."""

OWN = "own"
"""The control that is none: the picture made for this very user. Its line in a table carries the system's name."""

COMPARED_WITH = ("original", "shuffled_user")
MEDIANS = {"delta_r": "delta_r_median"}
"""Metrics whose mean a few people dominate; their median is given under a name of its own."""


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


def write_per_user(frame: pd.DataFrame, path: Path) -> None:
    """Write the per-user frame as Parquet, its rows sorted, so that equal results are equal files.

    Raises:
        ValueError: a column is missing, or a person has two values in one cell.
    """
    _check(frame)
    temporary = path.with_name(path.name + ".tmp")
    keys = list(COLUMNS[:-1])
    frame[list(COLUMNS)].sort_values(keys, kind="stable").to_parquet(temporary, index=False)
    temporary.replace(path)


def read_per_user(path: Path) -> pd.DataFrame:
    """Read what :func:`write_per_user` wrote.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no per-user results at {path}; run `ragar-rec evaluate` first")
    frame = pd.read_parquet(path)
    _check(frame)
    return frame
