"""Counts of users, items and interactions, compared so that none is lost between preparing a data set and the ranker.

The preparation writes its counts to ``summary.json`` beside the atomic files; a folder without it is not checked.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from recsys.tables import read_table


@dataclass(frozen=True)
class Counts:
    """How much of a data set there is. ``items`` is None where the configuration leaves the file of items out."""

    users: int
    items: int | None
    interactions: int

    def __str__(self) -> str:
        items = "" if self.items is None else f"{self.items:,} items, "
        return f"{self.users:,} users, {items}{self.interactions:,} interactions"

    @classmethod
    def prepared(cls, folder: Path) -> Counts | None:
        """The counts in a prepared folder; None if it has none.

        Raises:
            ValueError: the file does not read.
        """
        file = folder / "summary.json"
        if not file.is_file():
            return None
        try:
            summary: Mapping[str, int] = json.loads(file.read_text(encoding="utf-8"))
            return cls(summary["users"], summary["items"], summary["interactions"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{file} holds no counts of a prepared data set; prepare it again") from error

    def check(
        self, found: Counts, folder: Path, name: str, users: Collection[str], items: Collection[str], stage: str
    ) -> None:
        """Compare these counts with what RecBole has.

        Args:
            found: its counts.
            folder: where the atomic files are.
            name: name of the data set.
            users: tokens of the users that RecBole has.
            items: tokens of its items.
            stage: what RecBole did, in words.

        Raises:
            ValueError: the counts differ; the sentence has both and the first ids that are lost.
        """
        expected = Counts(self.users, None if found.items is None else self.items, self.interactions)
        if expected == found:
            return
        lost = _lost(folder / f"{name}.inter", "user_id:token", users)
        lost += [] if found.items is None else _lost(folder / f"{name}.item", "item_id:token", items)
        raise ValueError(
            f"{folder} was prepared with {expected}, but after RecBole {stage} there are {found}"
            f"{' (lost: ' + ', '.join(lost) + ')' if lost else ''}: the files were changed since, or RecBole left "
            "something out; delete this folder and prepare the data set again"
        )


def _lost(file: Path, column: str, present: Collection[str]) -> list[str]:
    """The first five ids of a file that are not present, in words."""
    try:
        ids = read_table(file, [column], separator="\t")[column].unique()
    except (OSError, ValueError):  # The counts differ all the same: that is the error to show.
        return []
    kind = column.partition("_")[0]
    return [f"{kind} {token!r}" for token in ids if token not in present][:5]
