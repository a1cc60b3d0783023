"""A finding of the diagnosis, and the frame of a value per user that findings are made from.

The frame has the columns of :data:`COLUMNS`: a step, what was measured (``subject``), the metric, a user and a value.
A finding is a sentence for people who run a shop, the numbers that it rests on, and what to change.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from recsys.scoring.statistics import Interval, interval, paired_difference

COLUMNS = ("step", "subject", "metric", "user", "value")

OWN = "own"
"""The subject to which the others of a step are compared: the ranker, or the user, as they are."""

WIDTH = 100
"""Columns of the printed text."""

STRANGER = "stranger"
"""The subject of a step that is made for another user, as this one sees it."""


@dataclass(frozen=True)
class Finding:
    """What one step of the diagnosis found."""

    step: str
    question: str
    answer: str
    """A sentence with its numbers."""
    advice: str
    """What to change if this is where the gain is lost; empty if it is not."""
    numbers: Mapping[str, Interval | float]

    def text(self) -> str:
        """Question, answer and advice in lines of at most :data:`WIDTH` columns."""
        advice = [textwrap.fill(f"-> {self.advice}", WIDTH, initial_indent="  ", subsequent_indent="     ")]
        answer = textwrap.fill(self.answer, WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
        return "\n".join([self.question, answer, *(advice if self.advice else [])])

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON, which has no word for a number that is none."""
        tree = asdict(self)
        numbers = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in tree["numbers"].items()}
        return tree | {"numbers": numbers}

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Finding:
        """What :meth:`as_dict` gave, as it comes back from JSON."""
        numbers = {
            name: Interval(**number) if isinstance(number, Mapping) else float("nan") if number is None else number
            for name, number in tree["numbers"].items()
        }
        return cls(**{**tree, "numbers": numbers})


class DiagnosisFrame:
    """Values and intervals of a diagnosis' frame."""

    def __init__(self, frame: pd.DataFrame, bootstrap: Mapping[str, Any]) -> None:
        self.frame, self.bootstrap = frame, bootstrap

    def has(self, step: str, subject: str) -> bool:
        """Whether anything was measured of this subject."""
        return bool(((self.frame["step"] == step) & (self.frame["subject"] == subject)).any())

    def subjects(self, step: str) -> list[str]:
        """What was measured in a step, in the order of the frame."""
        return self.frame.loc[self.frame["step"] == step, "subject"].unique().tolist()

    def users(self, step: str, subject: str, metric: str) -> pd.Series:
        """One value per user."""
        rows = self.frame.query("step == @step and subject == @subject and metric == @metric")
        return pd.Series(rows["value"].to_numpy(), index=rows["user"].to_numpy())

    def mean(self, step: str, subject: str, metric: str) -> Interval:
        """The mean over users."""
        return interval(self.users(step, subject, metric).to_numpy(), **self.bootstrap)

    def difference(self, step: str, subject: str, other: str, metric: str) -> Interval:
        """The paired mean difference of two subjects."""
        pair = (self.users(step, name, metric) for name in (subject, other))
        return paired_difference(*pair, **self.bootstrap)


def signed(number: Interval) -> str:
    """A difference with its interval, ``+0.0123 [-0.0012, +0.0321]``."""
    return f"{number.value:+.4f} [{number.low:+.4f}, {number.high:+.4f}]"
