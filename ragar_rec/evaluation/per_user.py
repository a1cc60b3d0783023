"""The per-user frame: one value per user, seeds and cell of the results, as Parquet."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

MEASURED = ("user", "system", "protocol", "control", "judge", "seed", "metric", "value")
"""Columns of what is measured after one training; ``seed`` is that of the generated pictures, or of a draw of
``random_item``."""

COLUMNS = ("user", "system", "protocol", "control", "judge", "training_seed", "seed", "metric", "value")
"""Columns of the per-user frame; all but ``value`` together identify a row."""

OWN = "own"
"""Value of ``control`` for the pictures under test, each made for the user it is shown to: what the controls are
compared with. In a table their line carries the system's name."""

PERMUTED_OWNERS = "permuted_owners"
"""Value of ``control`` for the mean over permutations of whose picture is shown, see `ownership`."""


def write_per_user(frame: pd.DataFrame, path: Path) -> None:
    """Write the per-user frame as Parquet, its rows sorted, so that equal results are equal files.

    Raises:
        ValueError: a column is missing, or a user has two values in one cell.
    """
    check_per_user(frame)
    temporary = path.with_name(path.name + ".tmp")
    keys: list[str] = list(COLUMNS[:-1])
    frame.sort_values(keys, kind="stable").reindex(columns=list(COLUMNS)).to_parquet(temporary, index=False)
    temporary.replace(path)


def read_per_user(path: Path) -> pd.DataFrame:
    """Read what :func:`write_per_user` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no per-user frame.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no per-user results at {path}; run `ragar-rec evaluate` first")
    frame = pd.read_parquet(path)
    check_per_user(frame)
    return frame


def check_per_user(frame: pd.DataFrame) -> None:
    """Check that a frame has all columns and one value in each cell.

    Raises:
        ValueError: a column is missing, or a user has two values in one cell.
    """
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing:
        raise ValueError(f"the per-user frame lacks {', '.join(missing)}; it has {', '.join(map(str, frame.columns))}")
    duplicated = frame.duplicated(list(COLUMNS[:-1]))
    if duplicated.any():
        cell = frame.loc[duplicated, list(COLUMNS[:-1])].iloc[0].to_dict()
        raise ValueError(f"the per-user frame holds two values for {cell}")
