import pytest

from ragar_rec.report.plots import COLOURS, Bar, Curve, curves_svg, waterfall_svg
from recsys.scoring.statistics import Interval


def test_curves_take_the_pages_ink_and_refuse_unequal_lengths():
    svg = curves_svg([Curve("a", [0, 1], [0.0, 1.0]), Curve("b", [0], [0.5])], label="loss")
    assert svg.startswith("<svg") and "currentColor" in svg and "#0d1117" not in svg
    assert svg == curves_svg([Curve("a", [0, 1], [0.0, 1.0]), Curve("b", [0], [0.5])], label="loss")
    with pytest.raises(ValueError, match="curve 'a' has 2 steps and 1 values"):
        curves_svg([Curve("a", [0, 1], [0.0])])


def test_a_waterfall_shows_each_number_and_its_personal_part_in_a_second_colour():
    bars = [
        Bar("headroom", Interval(0.3, 0.2, 0.4, 9), Interval(0.1, 0.05, 0.15, 9)),
        Bar("codec", Interval(-0.05, -0.07, -0.02, 9)),
    ]
    svg = waterfall_svg(bars)
    assert all(f">{text}<" in svg for text in ("+0.300", "+0.100", "-0.050", "headroom", "codec"))
    assert svg.count(f"fill: {COLOURS[0]}") == 3  # two bars and the legend
    assert svg.count(f"fill: {COLOURS[1]}") == 2
    assert "currentColor" in svg and "#0d1117" not in svg
    assert svg == waterfall_svg(bars)
    assert COLOURS[1] not in waterfall_svg(bars[1:])


def test_a_waterfall_of_nothing_is_flat_and_one_of_no_bars_is_refused():
    flat = Interval(0.0, 0.0, 0.0, 2)
    assert ">+0.000<" in waterfall_svg([Bar("headroom", flat, flat)])
    with pytest.raises(ValueError, match="at least one bar, got 0"):
        waterfall_svg([])
