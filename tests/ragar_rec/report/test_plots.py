import pytest

from ragar_rec.report.plots import Curve, curves_svg


def test_curves_take_the_pages_ink_and_refuse_unequal_lengths():
    svg = curves_svg([Curve("a", [0, 1], [0.0, 1.0]), Curve("b", [0], [0.5])], label="loss")
    assert svg.startswith("<svg") and "currentColor" in svg and "#0d1117" not in svg
    assert svg == curves_svg([Curve("a", [0, 1], [0.0, 1.0]), Curve("b", [0], [0.5])], label="loss")
    with pytest.raises(ValueError, match="curve 'a' has 2 steps and 1 values"):
        curves_svg([Curve("a", [0, 1], [0.0])])
