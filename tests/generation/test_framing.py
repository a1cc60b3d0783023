"""The frame of a catalogue by its median picture, and what a crop to it would cut."""

import pytest

from generation.framing import choose_frame, cuts, median_ratio

SQUARES, POSTERS, BANNERS = [(500, 500)] * 3, [(600, 400)] * 3, [(100, 2000)] * 3


@pytest.mark.parametrize(
    ("shapes", "frame"),
    [
        # sqrt(96 * 64) = 78.4: the nearest multiple of 8 is 80
        (SQUARES, (80, 80)),
        (POSTERS, (96, 64)),
        ([(400, 600)] * 3, (64, 96)),
        # 20 times as wide as high: at most 4 times, sqrt(6144 / 4) = 39.2 and 156.8
        (BANNERS, (40, 160)),
        # ratios 2/3, 1, 20: the median is the square
        ([*POSTERS, *SQUARES, *BANNERS], (80, 80)),
        ([], (96, 64)),
    ],
)
def test_the_frame_has_the_median_pictures_proportions_and_the_area_asked_for(shapes, frame) -> None:
    assert choose_frame(shapes, (96, 64), multiple=8) == frame


def test_a_side_that_is_given_stays_and_determines_the_other() -> None:
    assert choose_frame(POSTERS, (96, 64), multiple=8, height=120) == (120, 80)
    assert choose_frame(POSTERS, (96, 64), multiple=8, width=40) == (64, 40)  # 60 lies between 56 and 64
    assert choose_frame(POSTERS, (96, 64), multiple=8, height=32, width=32) == (32, 32)
    assert choose_frame(SQUARES, (512, 512), multiple=64) == (512, 512)
    assert median_ratio(BANNERS) == 20


def test_what_a_crop_cuts_is_counted() -> None:
    """In a square frame a square loses nothing, a poster of 2 : 3 a third, a banner of 20 : 1 19 of 20 parts."""
    found = cuts([*SQUARES, *POSTERS[:2], BANNERS[0]], (80, 80))
    assert found.notable == 3
    assert (found.median, found.worst) == pytest.approx((1 / 6, 0.95))
