"""Findings about a generator: what it could draw, what it learned to draw, and what its codec costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ragar_rec.evaluation.finding import OWN, STRANGER, DiagnosisFrame, Finding, signed

REACH, LEARNED, CODEC = "reach", "learned", "codec"
"""The steps of a generator, see :class:`ragar_rec.stages.generator_diagnosis.GeneratorDiagnosis`."""

REACH_QUESTION = "What can the generator draw?"
CODEC_QUESTION = "What does the generator cost by itself?"


def reach(data: DiagnosisFrame, left_out: Mapping[str, str]) -> Iterator[Finding]:
    """What pictures optimised for one person each gain; nothing without a generator."""
    if REACH in left_out:
        yield Finding(REACH, REACH_QUESTION, f"Left out: {left_out[REACH]}", "", {})
        return
    if not data.has(REACH, OWN):
        return
    own, personal = data.mean(REACH, OWN, "score"), data.difference(REACH, OWN, STRANGER, "score")
    answer = (
        f"Optimised by the exact gradient for each of {own.n} people, its picture gains {signed(own)} deviations over "
        f"the item's own, and {signed(personal)} over the one optimised for a stranger, which is the personal part."
    )
    if own.high <= 0:
        advice = (
            "Not even the best picture that it can draw is as good as the item's own: train the backbone longer, or "
            "raise generator.steps."
        )
    elif personal.low <= 0:
        advice = (
            "Nothing personal is shown in what it can draw, and no reward can teach what cannot be drawn: raise "
            "generator.strength, or train the backbone longer; more diagnosis.optimised narrow the interval."
        )
    else:
        advice = ""
    yield Finding(REACH, REACH_QUESTION, answer, advice, {"own": own, "personal": personal})


def learned(data: DiagnosisFrame) -> Iterator[Finding]:
    """What the generator's pictures gain as they are; nothing without a generator."""
    if not data.has(LEARNED, OWN):
        return
    own, personal = data.mean(LEARNED, OWN, "score"), data.difference(LEARNED, OWN, STRANGER, "score")
    answer = (
        f"For {own.n} people whom it was not trained on, its picture gains {signed(own)} deviations over the item's "
        f"own, and {signed(personal)} over the one made for a stranger, which is the personal part."
    )
    if personal.low > 0:
        advice = ""
    elif data.has(REACH, OWN) and data.difference(REACH, OWN, STRANGER, "score").low > 0:
        advice = (
            "It could draw what is personal and did not learn to: raise reflection.reward_steps, or try "
            "reflection.objective: path and a higher reflection.alpha."
        )
    else:
        advice = "Nothing personal is shown in what it draws: it may please everybody alike."
    yield Finding(LEARNED, "What did the generator learn?", answer, advice, {"own": own, "personal": personal})


def codec(data: DiagnosisFrame, left_out: Mapping[str, str]) -> Iterator[Finding]:
    """What the item's own picture loses in the codec; nothing without a generator."""
    if CODEC in left_out:
        yield Finding(CODEC, CODEC_QUESTION, f"Left out: {left_out[CODEC]}", "", {})
        return
    if not data.has(CODEC, OWN):
        return
    own = data.mean(CODEC, OWN, "score")
    answer = f"The item's own picture, as the generator gives it back, moves by {signed(own)} deviations."
    advice = (
        "Every generated picture loses that much before it gains anything: adapt the backbone by some hundred "
        "backbone.unet_steps, or draw larger pictures."
        if own.high < 0
        else ""
    )
    yield Finding(CODEC, CODEC_QUESTION, answer, advice, {"own": own})
