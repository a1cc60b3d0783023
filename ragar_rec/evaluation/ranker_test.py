"""A ranker on the test part: metrics by person, beside those of simple rankers, and whether one of these wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from recsys.recbole.dataset import Dataset
from recsys.recbole.models import full_scores
from recsys.recbole.splits import HeldOutPhase
from recsys.recbole.training import TrainedRanker
from recsys.scoring.metrics import per_user
from recsys.scoring.ranks import held_out_ranks
from recsys.scoring.statistics import Interval, interval, paired_difference

Values = Mapping[str, pd.Series]
"""One value for each user, by the metric's name."""


def held_out_values(ranker: Any, dataset: Dataset, ks: Sequence[int], phase: HeldOutPhase = "test") -> Values:
    """Recall@k and NDCG@k of every user with held-out items, full ranking (`recsys.scoring.ranks`).

    Under the split `COLD` the withheld items are ranked among each other.

    Returns:
        Metrics in the order recall@k, ndcg@k of each k; empty without held-out interactions.
    """
    if not len(getattr(dataset.interactions, phase)[0]):
        return {}
    ranks = held_out_ranks(lambda users: full_scores(ranker, users), dataset, phase=phase)
    tables = [per_user(ranks, k) for k in ks]
    return {
        str(metric): pd.Series(group.set_index("user")["value"])
        for table in tables
        for metric, group in table.groupby("metric", sort=False)
    }


@dataclass(frozen=True)
class Comparison:
    """A ranker and simple rankers on the same people.

    Attributes:
        name: of the ranker.
        values: of the ranker and of the simple ones, by name; the ranker is among them.
        bootstrap: `confidence`, `resamples` and `seed` of the intervals.
    """

    name: str
    values: Mapping[str, Values]
    bootstrap: Mapping[str, Any]

    def table(self) -> str:
        """A line for each ranker, the mean of each metric over people with its interval."""
        metrics = list(self.values[self.name])
        people = len(self.values[self.name][metrics[0]])
        width = max(map(len, self.values)) + 2
        lines = [
            f"on the test, {people:,} people:",
            " " * width + "".join(f"{metric:<26}" for metric in metrics).rstrip(),
        ]
        for name, values in self.values.items():
            cells = [interval(values[metric].to_numpy(), **self.bootstrap) for metric in metrics]
            lines.append(f"{name:{width}}" + "".join(f"{_text(cell):<26}" for cell in cells).rstrip())
        return "\n".join(lines)

    def verdict(self, metric: str) -> str:
        """Whether a simple ranker wins, by the paired difference over people of the best of them; "" without any.

        The best is the one with the highest mean on these very people, which favours the simple rankers a little.
        """
        others = {name: values for name, values in self.values.items() if name != self.name}
        if not others:
            return ""
        best = max(others, key=lambda name: others[name][metric].mean())
        lead = paired_difference(self.values[self.name][metric], others[best][metric], **self.bootstrap)
        number = f"{metric} of {self.name} less that of {best} is {_text(lead, '+')} in the mean over people"
        if lead.high < 0:
            return f"{best} beats {self.name}, with less to train: {number}."
        if lead.low > 0:
            return f"{self.name} beats {best}, the best of the simple rankers: {number}."
        return f"{self.name} and {best}, the best of the simple rankers, cannot be told apart: {number}."


def compared_on_test(name: str, rankers: Mapping[str, TrainedRanker], bootstrap: Mapping[str, Any]) -> str:
    """The table and the verdict of rankers on the test part of their split, for every k of `topk`.

    Args:
        name: the ranker that the others are compared with.
        rankers: all of them by name.
        bootstrap: see :class:`Comparison`.
    """
    config = rankers[name].dataset.config
    ks: Sequence[int] = config["topk"] or ()
    values = {other: held_out_values(trained.ranker, trained.dataset, ks) for other, trained in rankers.items()}
    comparison, metric = Comparison(name, values, bootstrap), str(config["valid_metric"]).lower()
    # Validation may look at a metric of RecBole's that is none of ours, such as MRR@10.
    verdict = comparison.verdict(metric if metric in values[name] else next(iter(values[name])))
    if (cold := rankers[name].dataset.candidates("test")) is not None:
        n = len(cold)
        verdict = f"the {n:,} items withheld for the test are ranked among each other: by chance Recall@k is k / {n}"
    return f"{comparison.table()}\n{verdict}".rstrip()


def _text(value: Interval, sign: str = "") -> str:
    return f"{value.value:{sign}.4f} [{value.low:{sign}.4f}, {value.high:{sign}.4f}]"
