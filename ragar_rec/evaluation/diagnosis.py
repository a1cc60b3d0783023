"""Diagnosis: is there anything to gain by other pictures, and where would it be lost? Findings from per-user values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import pandas as pd

from ragar_rec.evaluation.finding import OWN, STRANGER, DiagnosisFrame, Finding, signed
from ragar_rec.evaluation.generator_findings import codec, learned, reach
from recsys.scoring.metrics import list_metric_name
from recsys.scoring.statistics import Interval, smallest_visible_gain

RANKER_ITSELF = (OWN, "trained on shuffled", "image permuted", "text permuted", "both permuted")
"""Subjects of the step `reading` that are the ranker under other pictures; the others are simple rankers."""


def findings(
    frame: pd.DataFrame,
    *,
    metric: str,
    personal_share: float,
    left_out: Mapping[str, str] | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> tuple[Finding, ...]:
    """What each step found, in the order in which a gain can be lost.

    Args:
        frame: see :data:`ragar_rec.evaluation.finding.COLUMNS`.
        metric: of the ranked lists, such as ``ndcg@10``.
        personal_share: see `ragar_rec.evaluation.headroom.personal_share`.
        left_out: steps of the generator that were not measured, each with the reason as a sentence.
        resamples: bootstrap resamples of users.
        confidence: coverage of the intervals.
    """
    data, reasons = DiagnosisFrame(frame, {"resamples": resamples, "confidence": confidence}), left_out or {}
    steps: tuple[Callable[[], Iterator[Finding]], ...] = (
        lambda: _reads_pictures(data, metric),
        lambda: _baselines(data, metric),
        lambda: _headroom(data, personal_share),
        lambda: _retrieval(data),
        lambda: reach(data, reasons),
        lambda: learned(data),
        lambda: codec(data, reasons),
        lambda: _equal_treatment(data, metric),
        lambda: _power(data, metric, confidence),
    )
    return tuple(finding for step in steps for finding in step())


def barren(found: Iterable[Finding]) -> str:
    """Why nothing personal can be gained by pictures, by the first two steps; empty if something can, or nobody looked.

    Args:
        found: the findings of a ranker.
    """
    numbers = {finding.step: finding.numbers for finding in found}
    shuffled = numbers.get("reading", {}).get("trained on shuffled")
    personal = numbers.get("headroom", {}).get("personal")
    if isinstance(shuffled, Interval) and shuffled.low <= 0:
        lead = signed(shuffled)
        return f"the ranker is not shown to read pictures, its lead over a training on shuffled ones is {lead}"
    if isinstance(personal, Interval) and personal.low <= 0:
        return f"no picture is shown to be better for one person than for another, by {signed(personal)}"
    return ""


def _reads_pictures(data: DiagnosisFrame, metric: str) -> Iterator[Finding]:
    permuted = data.difference("reading", OWN, "image permuted", metric)
    shuffled = data.difference("reading", OWN, "trained on shuffled", metric)
    numbers: dict[str, Interval | float] = {"image permuted": permuted, "trained on shuffled": shuffled}
    for name in ("text permuted", "both permuted"):
        if data.has("reading", name):
            numbers[name] = data.difference("reading", OWN, name, metric)
    name = list_metric_name(metric)
    if shuffled.low > 0:
        answer = f"Yes: trained on the pictures of other items it would lose {signed(shuffled)} of {name}."
        advice = ""
    elif permuted.low > 0:
        answer = (
            f"It looks, but learns nothing of them: shown the pictures of other items it loses {signed(permuted)} of "
            f"{name}, but the same ranker trained on pictures of other items is not worse ({signed(shuffled)}). It "
            "uses pictures as names of items."
        )
        advice = "Try features.whiten, another image_encoder or another model; cold items need pictures most."
    else:
        answer = (
            f"Not so that it shows: shown the pictures of other items it loses {signed(permuted)} of {name}, trained "
            f"on them {signed(shuffled)}."
        )
        advice = (
            "No generated picture can move a ranker that does not look: try model: VBPR with features.whiten: 128, "
            "another image_encoder, or items with few interactions (eval_args: {split: {COLD: 0.2}})."
        )
    yield Finding("reading", "Does the ranker read pictures?", answer, advice, numbers)


def _baselines(data: DiagnosisFrame, metric: str) -> Iterator[Finding]:
    names = [n for n in data.subjects("reading") if n not in RANKER_ITSELF]
    if not names:
        return
    leads = {name: data.difference("reading", OWN, name, metric) for name in names}
    best = min(leads, key=lambda name: leads[name].value)
    lead = leads[best]
    if lead.high < 0:
        answer = f"No: {best}, which sees no picture, is better by {signed(_minus(lead))}."
        advice = "A gain for a weak ranker need not be one for the shop: tune it, or take another model."
    elif lead.low > 0:
        answer, advice = f"Yes: better by {signed(lead)} than {best}, the best of {', '.join(names)}.", ""
    else:
        answer = f"It is level with {best}, the best of {', '.join(names)}: {signed(lead)}."
        advice = ""
    yield Finding("baselines", "Is the ranker a good one?", answer, advice, dict(leads))


def _headroom(data: DiagnosisFrame, share: float) -> Iterator[Finding]:
    own, everybody = (data.mean("headroom", name, "score") for name in (OWN, "everybody"))
    personal = data.difference("headroom", OWN, STRANGER, "score")
    if personal.low > 0:
        answer = (
            f"For the person, the best of the pool's pictures gains {signed(own)} deviations of the person's scores; "
            f"of these {signed(personal)} are personal, as a stranger's best gains that much less. The one picture "
            f"that is best for everybody else gains {signed(everybody)}. {share:.0%} of the ranker's reaction to "
            "pictures differs between people."
        )
        advice = (
            ""
            if share > 0.5
            else "Most of what this ranker rewards pleases everybody alike: expect little that is personal."
        )
    else:
        answer = (
            f"Nothing personal: the best picture for the person gains {signed(own)}, that for a stranger no less "
            f"({signed(personal)})."
        )
        advice = (
            "There is nothing to personalise for this ranker; one picture that is best for everybody may still help."
        )
    numbers = {"own": own, "personal": personal, "everybody": everybody, "personal share": share}
    yield Finding("headroom", "How much could any picture gain?", answer, advice, numbers)


def _retrieval(data: DiagnosisFrame) -> Iterator[Finding]:
    own = data.mean("retrieval", OWN, "score")
    personal = data.difference("retrieval", OWN, STRANGER, "score")
    answer = (
        "A picture with the mean features of what is retrieved from the person's history by likeness would gain "
        f"{signed(own)} deviations, {signed(personal)} more than one from a stranger's."
    )
    advice = (
        ""
        if personal.low > 0
        else ("What is retrieved says nothing personal to this ranker: try generator.k, or another ranker.")
    )
    yield Finding(
        "retrieval", "Does retrieval ask for the right thing?", answer, advice, {"own": own, "personal": personal}
    )


def _equal_treatment(data: DiagnosisFrame, metric: str) -> Iterator[Finding]:
    gains = {
        name: data.difference("equal treatment", name, "original", metric)
        for name in ("best of pool", "retrieved", "random item")
    }
    name = list_metric_name(metric)
    best = gains["best of pool"]
    answer = (
        f"If every candidate carried its best picture for the person, {name} among the candidates would move by "
        f"{signed(best)}; with what retrieval asks for by {signed(gains['retrieved'])}, with random pictures by "
        f"{signed(gains['random item'])}."
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


def _power(data: DiagnosisFrame, metric: str, confidence: float) -> Iterator[Finding]:
    retrieved, original = (data.users("equal treatment", name, metric) for name in ("retrieved", "original"))
    least = smallest_visible_gain((retrieved - original).to_numpy(), confidence=confidence)
    name = list_metric_name(metric)
    answer = (
        f"With these {len(original)} people a gain of {name} of {least:.4f} would be seen with a probability of 80 %; "
        "smaller ones usually would not."
    )
    yield Finding("power", "What could this run see?", answer, "", {"smallest visible gain": least})


def _minus(number: Interval) -> Interval:
    return Interval(-number.value, -number.high, -number.low, number.n, number.error)
