"""Tables of results: one per protocol and judge, with a line per control and an interval beside every number.

A :class:`Table` is made from the rows of results.json and from nothing else, so what is printed can be recomputed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ragar_rec.evaluation.per_user import OWN
from ragar_rec.evaluation.results import Row
from recsys.scoring.metrics import list_metric_name

QUESTIONS: Mapping[str, str] = {
    "candidates": "Would personalised pictures help where nobody knows what the person will choose next?",
    "catalogue": "Are pictures made for each item's audience better training data for the ranker?",
    "reference": "Does a new picture lift the very item that is tested, as in the paper?",
    "generator": "Did the generator learn what the ranker rewards, and is what it learned personal?",
    "diversity": "Do different people get different pictures of one item?",
    "reading": "Does this judge read pictures?",
}
"""Protocol -> the question that its table answers."""

EXPLANATIONS: Mapping[str, str] = {
    "reference": (
        "Privileged: the target is known. Only the held-out item gets a new picture, as in the paper, so that any new "
        "picture, even a random one, may lift it. For comparison with the paper; no evidence of a gain. Judged on each "
        "person's earliest held-out items only, so its base differs from that of `candidates`."
    ),
    "candidates": (
        "Every item of a person's original top C gets a new picture and those C are ranked again; nobody knows the "
        "target. Recall@C cannot change."
    ),
    "generator": (
        "People kept from the generator's training; a new picture is made of the last training item of each, and the "
        "judge scores it, in standard deviations of the person's scores."
    ),
    "diversity": (
        "Mean distance between pictures of one item for eight people, beside that between eight seeds for one person. "
        "A line counts items, not people."
    ),
    "catalogue": (
        "Items get pictures made for their audience, and the ranker is trained from scratch on these, with several "
        "seeds; a person's numbers are the mean over them. The lines differ only in the pictures that the ranker was "
        "trained and tested with."
    ),
    "reading": (
        "Metrics on validation, beside those of the same ranker trained on the pictures of other items. A judge that "
        "is no better for the right pictures does not read them and confirms nothing."
    ),
}
"""Protocol -> what its numbers mean."""

CONTROL_EXPLANATIONS: Mapping[tuple[str, str], str] = {
    ("generator", "untrained"): "`untrained` is the generator after its warm start, before any reward.",
    ("catalogue", "shuffled_user"): (
        "`shuffled_user` has pictures of the same items, each made for the audience of another one."
    ),
    ("catalogue", "random_item"): "`random_item` has the original pictures, exchanged among the items.",
}
"""(protocol, control) -> what the control shows, where its name does not say so."""

PRIVILEGED = ("reference",)
"""Protocols that know the target."""

METRIC_NAMES: Mapping[str, str] = {
    "delta_r": "ΔR, mean",
    "delta_r_median": "ΔR, median",
    "rank": "mean rank",
    "score": "score in σ",
    "feature_distance": "features",
    "thumbnail_distance": "thumbnails",
}


def metric_name(metric: str) -> str:
    """Format a metric as a heading: ``recall@10`` as Recall@10, ``delta_r`` as ΔR, mean."""
    return METRIC_NAMES.get(metric, list_metric_name(metric))


@dataclass(frozen=True)
class Estimate:
    """A number with its confidence interval, which may be unknown."""

    value: float
    low: float | None = None
    high: float | None = None
    significant: bool | None = None
    """Of a difference: whether it is one after the correction for the number of comparisons; None if nobody tested."""
    visible: float | None = None
    """The smallest difference that would have been seen with a probability of 80 %."""
    spread: float | None = None
    """Standard deviation between trainings, where there are several."""

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside of the interval."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    @property
    def sign(self) -> int:
        """1 for a difference above 0, -1 for one below; 0 if its interval holds 0 or the correction keeps nothing."""
        if not self.excludes_zero or self.significant is False:
            return 0
        return 1 if self.low is not None and self.low > 0 else -1

    def magnitude(self) -> Estimate:
        """The size of a number whose interval lies on one side of 0: of a negative one the negative, ends exchanged."""
        if self.sign >= 0:
            return self
        low, high = (None if end is None else -end for end in (self.high, self.low))
        return replace(self, value=-self.value, low=low, high=high)

    def text(self, *, signed: bool = False) -> str:
        """Format as ``0.1234 [0.1001, 0.1400]``."""
        form = "+.4f" if signed else ".4f"
        interval = "" if self.low is None or self.high is None else f" [{self.low:{form}}, {self.high:{form}}]"
        return f"{self.value:{form}}{interval}"


@dataclass(frozen=True)
class Line:
    """The results under one control: a value per metric, and the paired differences to other lines."""

    label: str
    system: str
    control: str
    values: Mapping[str, Estimate]
    differences: Mapping[tuple[str, str], Estimate]
    """(metric, label of the other line) -> paired difference."""

    @property
    def own(self) -> bool:
        """Whether these are the pictures that the system made for the person."""
        return self.control == OWN


@dataclass(frozen=True)
class Table:
    """All lines of one protocol and one judge."""

    title: str
    protocol: str
    explanation: str
    metrics: tuple[str, ...]
    compared_with: tuple[str, ...]
    lines: tuple[Line, ...]

    @property
    def question(self) -> str:
        """The question that the table answers; empty for a protocol that has none."""
        return QUESTIONS.get(self.protocol, "")

    @property
    def trained_again(self) -> bool:
        """Whether the numbers are of several trainings."""
        return any(estimate.spread is not None for line in self.lines for estimate in line.values.values())

    @property
    def privileged(self) -> bool:
        """Whether the protocol knows the target."""
        return self.protocol in PRIVILEGED


def tables(rows: Iterable[Row]) -> list[Table]:
    """Arrange rows as tables, in the order in which protocols, judges, controls and metrics first appear."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.dataset, row.protocol, row.judge), []).append(row)
    return [_table(*key, group) for key, group in groups.items()]


def _table(dataset: str, protocol: str, judge: str, rows: Sequence[Row]) -> Table:
    systems = list(dict.fromkeys(row.system for row in rows))
    lines: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        lines.setdefault((row.system, row.control), []).append(row)
    counts = sorted({row.users for row in rows})
    count = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
    controls = dict.fromkeys(row.control for row in rows)
    explanations = [EXPLANATIONS.get(protocol), *(CONTROL_EXPLANATIONS.get((protocol, name)) for name in controls)]
    unit = "items" if protocol == "diversity" else "people"
    return Table(
        title=f"Protocol `{protocol}` on {dataset}, judged by {judge}: {count} {unit}",
        protocol=protocol,
        explanation=" ".join(filter(None, explanations)),
        metrics=tuple(dict.fromkeys(row.metric for row in rows)),
        compared_with=tuple(dict.fromkeys(row.compared_with for row in rows if row.compared_with)),
        lines=tuple(_line(system, control, group, len(systems) > 1) for (system, control), group in lines.items()),
    )


def _line(system: str, control: str, rows: Sequence[Row], several_systems: bool) -> Line:
    label = system if control == OWN else f"{system}: {control}" if several_systems else control
    return Line(
        label=label,
        system=system,
        control=control,
        values={row.metric: _estimate(row) for row in rows if not row.compared_with},
        differences={(row.metric, row.compared_with): _estimate(row) for row in rows if row.compared_with},
    )


def _estimate(row: Row) -> Estimate:
    return Estimate(row.value, row.low, row.high, row.significant, row.visible, row.spread)
