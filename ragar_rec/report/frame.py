"""The frame of a catalogue's pictures in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from generation.framing import NOTABLE, Fit, cuts, median_ratio


def frame_sentence(shapes: Sequence[tuple[int, int]], frame: tuple[int, int], fit: Fit) -> str:
    """What fitting the pictures into the frame does to them."""
    found = cuts(shapes, frame)
    lost = (
        f"{found.notable:,} of {len(shapes):,} pictures by more than {NOTABLE:.0%} (median {found.median:.1%}, "
        f"worst {found.worst:.0%})"
    )
    what = f"padded; pictures.fit: crop would cut {lost}" if fit == "pad" else f"cropped, which cuts {lost}"
    return (
        f"frame {frame[0]} x {frame[1]} (height x width; the median picture is {median_ratio(shapes):.2f} times as "
        f"wide as high): pictures are {what}"
    )
