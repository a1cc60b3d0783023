"""Bars of findings: those steps that were measured, from the top down."""

from ragar_rec.evaluation.finding import Finding
from ragar_rec.report.plots import Bar
from ragar_rec.report.waterfall import waterfall_bars
from recsys.scoring.statistics import Interval

GAIN, PERSONAL = Interval(0.3, 0.2, 0.4, 9), Interval(0.1, 0.05, 0.15, 9)


def finding(step: str, **numbers: Interval | float) -> Finding:
    return Finding(step, "?", "", "", numbers)


def test_bars_come_in_the_order_of_the_waterfall_and_only_of_what_was_measured() -> None:
    found = [
        finding("reading", image=GAIN),
        finding("codec", own=PERSONAL),
        finding("learned", own=GAIN, personal=PERSONAL),
        finding("reach"),
        finding("headroom", own=GAIN, personal=PERSONAL, share=0.4),
    ]
    assert waterfall_bars(found) == [
        Bar("best picture of the catalogue", GAIN, PERSONAL),
        Bar("what it learned to draw", GAIN, PERSONAL),
        Bar("the item's own, given back", PERSONAL),
    ]
    assert waterfall_bars([]) == []
