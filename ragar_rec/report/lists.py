"""Recommendation lists as a file for others, and their summary in words and numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from recsys.recbole.dataset import Dataset
from recsys.scoring.lists import PERSISTENCE, catalogue_coverage, list_agreement, mean_popularity
from recsys.scoring.ranks import write_parquet
from recsys.scoring.statistics import interval

SUFFIXES = (".csv", ".parquet")
"""Files that lists can be written to."""

COLUMNS = ("user_id", "rank", "item_id", "score", "pictures")
"""Columns of the file; `pictures` is `original` or `generated`."""


def check_suffix(path: Path) -> None:
    """Refuse a file of another kind before anything is computed for it.

    Raises:
        ValueError: the suffix is not one of :data:`SUFFIXES`.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"lists are written as {' or '.join(SUFFIXES)}, but the file is {path}")


def lists_table(original: pd.DataFrame, generated: pd.DataFrame | None) -> pd.DataFrame:
    """The lists with :data:`COLUMNS`, user by user: the original list, then that with generated pictures."""
    parts = [original.assign(pictures="original")]
    if generated is not None:
        parts.append(generated.assign(pictures="generated"))
    table = pd.concat(parts, ignore_index=True).rename(columns={"user": "user_id", "item": "item_id"})
    place = {user: at for at, user in enumerate(dict.fromkeys(original["user"]))}
    # A stable sort leaves each user's original list before the other, and both by rank.
    order = np.argsort([place[user] for user in table["user_id"]], kind="stable")
    return table.iloc[order].reset_index(drop=True).reindex(columns=list(COLUMNS))


def write_lists(table: pd.DataFrame, path: Path) -> None:
    """Write lists as CSV or Parquet, by the suffix; a killed process leaves the whole file or the previous one."""
    check_suffix(path)
    if path.suffix == ".parquet":
        write_parquet(table, path)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    table.to_csv(temporary, index=False)
    temporary.replace(path)


def lists_summary(original: pd.DataFrame, generated: pd.DataFrame | None, dataset: Dataset) -> str:
    """Coverage and popularity of the lists, and how far those with generated pictures differ from the original ones."""
    n_items = dataset.n_items - 1
    columns = {"original": original} | ({} if generated is None else {"generated": generated})
    coverage = [f"{catalogue_coverage(lists, n_items):.4f}" for lists in columns.values()]
    popularity = [f"{mean_popularity(lists, dataset).mean():.1f}" for lists in columns.values()]
    lines = [
        " " * 24 + "".join(f"{name:>11}" for name in columns),
        f"{'catalogue coverage':24}" + "".join(f"{text:>11}" for text in coverage) + "  share of items in some list",
        f"{'mean popularity':24}" + "".join(f"{text:>11}" for text in popularity) + "  training interactions an item",
    ]
    if generated is not None:
        lines += _changes(original, generated)
    return "\n".join(lines)


def _changes(original: pd.DataFrame, generated: pd.DataFrame) -> list[str]:
    agreement = list_agreement(original, generated)
    changed = int((agreement["rbo"] < 1 - 1e-9).sum())
    texts = {name: interval(agreement[name].to_numpy()) for name in agreement.columns}
    found = {name: f"{it.value:.4f} [{it.low:.4f}, {it.high:.4f}]" for name, it in texts.items()}
    return [
        f"With generated pictures {changed:,} of {len(agreement):,} lists are another. "
        "In the mean over people, with 95 % intervals:",
        f"  share of a list's items that are new  {found['changed']}",
        f"  Jaccard similarity of both lists      {found['jaccard']}  (1: the same items)",
        f"  rank-biased overlap, p = {PERSISTENCE:g}          {found['rbo']}  (1: the same list)",
    ]
