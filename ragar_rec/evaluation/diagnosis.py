"""Diagnosis: is there anything to gain by other pictures, and where would it be lost? Findings from a frame per user.

The frame has the columns of :data:`COLUMNS`: a step, what was measured (``subject``), the metric, a user and a value.
A finding is a sentence for people who run a shop, the numbers that it rests on, and what to change.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from recsys.scoring.metrics import list_metric_name
from recsys.scoring.statistics import Interval, interval, paired_difference, smallest_visible_gain

COLUMNS = ("step", "subject", "metric", "user", "value")

OWN = "own"
"""The subject to which the others of a step are compared: the ranker, or the user, as they are."""

WIDTH = 100
"""Columns of the printed text."""

RANKER_ITSELF = (OWN, "trained on shuffled", "image permuted", "text permuted", "both permuted")
"""Subjects of the step `reading` that are the ranker under other pictures; the others are simple rankers."""


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


class _Frame:
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


def findings(
    frame: pd.DataFrame, *, metric: str, personal_share: float, resamples: int = 2000, confidence: float = 0.95
) -> tuple[Finding, ...]:
    """What each step found, in the order in which a gain can be lost.

    Args:
        frame: see :data:`COLUMNS`.
        metric: of the ranked lists, such as ``ndcg@10``.
        personal_share: see `ragar_rec.evaluation.headroom.personal_share`.
        resamples: bootstrap resamples of users.
        confidence: coverage of the intervals.
    """
    data = _Frame(frame, {"resamples": resamples, "confidence": confidence})
    steps: tuple[Callable[[], Iterator[Finding]], ...] = (
        lambda: _reads_pictures(data, metric),
        lambda: _baselines(data, metric),
        lambda: _headroom(data, personal_share),
        lambda: _retrieval(data),
        lambda: _equal_treatment(data, metric),
        lambda: _power(data, metric, confidence),
    )
    return tuple(finding for step in steps for finding in step())


def _reads_pictures(data: _Frame, metric: str) -> Iterator[Finding]:
    permuted = data.difference("reading", OWN, "image permuted", metric)
    shuffled = data.difference("reading", OWN, "trained on shuffled", metric)
    numbers: dict[str, Interval | float] = {"image permuted": permuted, "trained on shuffled": shuffled}
    for name in ("text permuted", "both permuted"):
        if data.has("reading", name):
            numbers[name] = data.difference("reading", OWN, name, metric)
    name = list_metric_name(metric)
    if shuffled.low > 0:
        answer = f"Yes: trained on the pictures of other items it would lose {_text(shuffled)} of {name}."
        advice = ""
    elif permuted.low > 0:
        answer = (
            f"It looks, but learns nothing of them: shown the pictures of other items it loses {_text(permuted)} of "
            f"{name}, but the same ranker trained on pictures of other items is not worse ({_text(shuffled)}). It uses "
            "pictures as names of items."
        )
        advice = "Try features.whiten, another image_encoder or another model; cold items need pictures most."
    else:
        answer = (
            f"Not so that it shows: shown the pictures of other items it loses {_text(permuted)} of {name}, trained on "
            f"them {_text(shuffled)}."
        )
        advice = (
            "No generated picture can move a ranker that does not look: try model: VBPR with features.whiten: 128, "
            "another image_encoder, or items with few interactions (eval_args: {split: {COLD: 0.2}})."
        )
    yield Finding("reading", "Does the ranker read pictures?", answer, advice, numbers)


def _baselines(data: _Frame, metric: str) -> Iterator[Finding]:
    names = [n for n in data.subjects("reading") if n not in RANKER_ITSELF]
    if not names:
        return
    leads = {name: data.difference("reading", OWN, name, metric) for name in names}
    best = min(leads, key=lambda name: leads[name].value)
    lead = leads[best]
    if lead.high < 0:
        answer = f"No: {best}, which sees no picture, is better by {_text(_minus(lead))}."
        advice = "A gain for a weak ranker need not be one for the shop: tune it, or take another model."
    elif lead.low > 0:
        answer, advice = f"Yes: better by {_text(lead)} than {best}, the best of {', '.join(names)}.", ""
    else:
        answer = f"It is level with {best}, the best of {', '.join(names)}: {_text(lead)}."
        advice = ""
    yield Finding("baselines", "Is the ranker a good one?", answer, advice, dict(leads))


def _headroom(data: _Frame, share: float) -> Iterator[Finding]:
    own, everybody = (data.mean("headroom", name, "score") for name in (OWN, "everybody"))
    personal = data.difference("headroom", OWN, "stranger", "score")
    if personal.low > 0:
        answer = (
            f"For the person, the best of the pool's pictures gains {_text(own)} deviations of the person's scores; of "
            f"these {_text(personal)} are personal, as a stranger's best gains that much less. The one picture that is "
            f"best for everybody else gains {_text(everybody)}. {share:.0%} of the ranker's reaction to pictures "
            "differs between people."
        )
        advice = (
            ""
            if share > 0.5
            else "Most of what this ranker rewards pleases everybody alike: expect little that is personal."
        )
    else:
        answer = (
            f"Nothing personal: the best picture for the person gains {_text(own)}, that for a stranger no less "
            f"({_text(personal)})."
        )
        advice = (
            "There is nothing to personalise for this ranker; one picture that is best for everybody may still help."
        )
    numbers = {"own": own, "personal": personal, "everybody": everybody, "personal share": share}
    yield Finding("headroom", "How much could any picture gain?", answer, advice, numbers)


def _retrieval(data: _Frame) -> Iterator[Finding]:
    own = data.mean("retrieval", OWN, "score")
    personal = data.difference("retrieval", OWN, "stranger", "score")
    answer = (
        f"A picture with the mean features of what is retrieved from the person's history would gain {_text(own)} "
        f"deviations, {_text(personal)} more than one from a stranger's."
    )
    advice = (
        ""
        if personal.low > 0
        else ("What is retrieved says nothing personal to this ranker: try generator.k, or another ranker.")
    )
    yield Finding(
        "retrieval", "Does retrieval ask for the right thing?", answer, advice, {"own": own, "personal": personal}
    )


def _equal_treatment(data: _Frame, metric: str) -> Iterator[Finding]:
    gains = {
        name: data.difference("equal treatment", name, "original", metric)
        for name in ("best of pool", "retrieved", "random item")
    }
    name = list_metric_name(metric)
    best = gains["best of pool"]
    answer = (
        f"If every candidate carried its best picture for the person, {name} among the candidates would move by "
        f"{_text(best)}; with what retrieval asks for by {_text(gains['retrieved'])}, with random pictures by "
        f"{_text(gains['random item'])}."
    )
    advice = (
        ""
        if best.low > 0
        else (
            "Even the best pictures do not help where all candidates get one: a gain under `reference` would be the "
            "privilege of the one item that looks new."
        )
    )
    yield Finding("equal treatment", "Would it help where nobody knows the target?", answer, advice, gains)


def _power(data: _Frame, metric: str, confidence: float) -> Iterator[Finding]:
    retrieved, original = (data.users("equal treatment", name, metric) for name in ("retrieved", "original"))
    least = smallest_visible_gain((retrieved - original).to_numpy(), confidence=confidence)
    name = list_metric_name(metric)
    answer = (
        f"With these {len(original)} people a gain of {name} of {least:.4f} would be seen with a probability of 80 %; "
        "smaller ones usually would not."
    )
    yield Finding("power", "What could this run see?", answer, "", {"smallest visible gain": least})


def _text(number: Interval) -> str:
    return f"{number.value:+.4f} [{number.low:+.4f}, {number.high:+.4f}]"


def _minus(number: Interval) -> Interval:
    return Interval(-number.value, -number.high, -number.low, number.n)
