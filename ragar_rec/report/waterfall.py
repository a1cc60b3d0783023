"""The waterfall: where a gain by pictures is lost, from the ranker's headroom to the codec, as bars of findings."""

from __future__ import annotations

from collections.abc import Iterable

from ragar_rec.evaluation.finding import Finding
from ragar_rec.evaluation.generator_findings import CODEC, LEARNED, REACH
from ragar_rec.report.plots import Bar
from recsys.scoring.statistics import Interval

LABELS = {
    "headroom": "best picture of the catalogue",
    "retrieval": "what is retrieved by likeness",
    REACH: "what the generator can draw",
    LEARNED: "what it learned to draw",
    CODEC: "the item's own, given back",
}
"""Step of the diagnosis -> its bar, from the top down."""


def waterfall_bars(findings: Iterable[Finding]) -> list[Bar]:
    """The bars of those steps that were measured."""
    by_step = {finding.step: finding.numbers for finding in findings}
    bars = []
    for step, label in LABELS.items():
        gain, personal = (by_step.get(step, {}).get(name) for name in ("own", "personal"))
        if isinstance(gain, Interval):
            bars.append(Bar(label, gain, personal if isinstance(personal, Interval) else None))
    return bars
