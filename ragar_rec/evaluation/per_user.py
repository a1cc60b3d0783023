"""The per-user frame: one value per person, seed and cell of the results, as Parquet."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

COLUMNS = ("user", "system", "protocol", "control", "judge", "seed", "metric", "value")
"""Of the per-user frame: one value per person, seed and cell of the table."""


OWN = "own"
"""The control that is none: the picture made for this very user. Its line in a table carries the system's name."""


def write_per_user(frame: pd.DataFrame, path: Path) -> None:
    """Write the per-user frame as Parquet, its rows sorted, so that equal results are equal files.

    Raises:
        ValueError: a column is missing, or a person has two values in one cell.
    """
    _check(frame)
    temporary = path.with_name(path.name + ".tmp")
    keys: list[str] = list(COLUMNS[:-1])
    frame.sort_values(keys, kind="stable").reindex(columns=list(COLUMNS)).to_parquet(temporary, index=False)
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


def _check(frame: pd.DataFrame) -> None:
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing:
        raise ValueError(f"the per-user frame lacks {', '.join(missing)}; it has {', '.join(map(str, frame.columns))}")
    twice = frame.duplicated(list(COLUMNS[:-1]))
    if twice.any():
        cell = frame.loc[twice, list(COLUMNS[:-1])].iloc[0].to_dict()
        raise ValueError(f"the per-user frame holds two values for {cell}")
