"""Whether a judge reads pictures: beside itself, trained on the pictures of other items (the diagnosis' first step)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import pandas as pd

from ragar_rec.evaluation.per_user import COLUMNS, OWN, read_per_user, write_per_user
from ragar_rec.evaluation.ranker_test import held_out_values
from ragar_rec.stages.ranker import Ranker
from ragar_rec.stages.stage import Stage

READING, SHUFFLED = "reading", "trained_on_shuffled"
"""The protocol and the control of the frame."""


@dataclass(frozen=True, eq=False)
class Reading(Stage):
    """A judge's metrics on validation, beside those of the same ranker trained on shuffled pictures.

    Attributes:
        judge: its name in the frame, as the system and as the judge.
        ranker: the judge.
        shuffled: the same ranker, trained on the pictures of other items, once or more: one training says little of
            others, so their mean for each user is taken.
        k: length of the list for Recall@k and NDCG@k.
    """

    name: ClassVar[str] = "reading"
    judge: str
    ranker: Ranker
    shuffled: tuple[Ranker, ...]
    k: int

    def build(self, to: Path) -> None:
        rows = []
        for control, rankers in ((OWN, (self.ranker,)), (SHUFFLED, self.shuffled)):
            for seed, ranker in enumerate(rankers):
                trained = ranker.trained
                for metric, values in held_out_values(trained.ranker, trained.dataset, [self.k], "valid").items():
                    cell = (self.judge, READING, control, self.judge, 0, seed, metric)
                    rows += [(str(user), *cell, float(value)) for user, value in values.items()]
        write_per_user(pd.DataFrame(rows, columns=pd.Index(COLUMNS)), to / "per_user.parquet")

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One value for each user of the validation and metric; empty if nothing is held out for validation."""
        return read_per_user(self.folder / "per_user.parquet")
