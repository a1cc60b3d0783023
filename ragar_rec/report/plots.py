"""The door to matplotlib: curves and the waterfall as SVG text that takes its colour from the page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from recsys.scoring.statistics import Interval

INK = "#0d1117"
"""Placeholder colour, replaced by the colour of the page's text (``currentColor``): dark pages have light text."""

COLOURS = ("#3b6fd4", "#d9822b", "#3f9d6b", "#b5508c", "#7a6fd0", "#6b7280")
_STYLE = {
    "svg.fonttype": "none",  # text stays text; by default matplotlib draws it as paths
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # measured with this one; the page's CSS replaces it
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}


@dataclass(frozen=True)
class Bar:
    """One step of the waterfall: what pictures gain there, and what of it is personal."""

    label: str
    gain: Interval
    personal: Interval | None = None
    """The gain less that by the picture made for a stranger; None where there is no such thing."""


@dataclass(frozen=True)
class Curve:
    """A quantity over training steps."""

    name: str
    steps: Sequence[float]
    values: Sequence[float]


def curves_svg(curves: Sequence[Curve], *, label: str = "", x_label: str = "step") -> str:
    """Plot curves in one set of axes; a noisy curve is drawn faintly below its running mean.

    Args:
        curves: one colour each.
        label: of the vertical axis.
        x_label: of the horizontal axis.

    Raises:
        ValueError: a curve has not as many values as steps.
    """
    for curve in curves:
        if len(curve.steps) != len(curve.values):
            raise ValueError(f"curve {curve.name!r} has {len(curve.steps)} steps and {len(curve.values)} values")
    # Ids in the SVG are hashes with a random salt unless one is set; figures of one page must not share ids.
    style: dict[Any, Any] = _STYLE | {"svg.hashsalt": repr((label, [curve.name for curve in curves]))}
    with rc_context(style):
        figure = Figure(figsize=(4.6, 2.5), layout="constrained")
        axes = figure.add_subplot()
        for index, curve in enumerate(curves):
            _draw(axes, curve, COLOURS[index % len(COLOURS)])
        axes.set_xlabel(x_label)
        axes.set_ylabel(label)
        axes.grid(axis="y", linewidth=0.4, color=INK, alpha=0.15)
        if len(curves) > 1:
            axes.legend(frameon=False, fontsize=8, ncols=2)
        return _svg(figure)


@dataclass(frozen=True)
class Estimates:
    """A quantity with its intervals at several settings.

    Attributes:
        name: of the quantity.
        intervals: one for every setting.
    """

    name: str
    intervals: Sequence[Interval]


def estimates_svg(
    settings: Sequence[str], quantities: Sequence[Estimates], *, label: str = "", x_label: str = ""
) -> str:
    """Plot quantities with their intervals; settings that are all numbers stand at their places, others side by side.

    Args:
        settings: in words or numbers, one for every value.
        quantities: one colour each.
        label: of the vertical axis.
        x_label: of the horizontal axis.
    """
    numbers = [float(text) if text.replace(".", "", 1).isdigit() else None for text in settings]
    on_scale = all(number is not None for number in numbers)
    at = np.array(numbers if on_scale else range(len(settings)), dtype=float)
    style: dict[Any, Any] = _STYLE | {"svg.hashsalt": repr((label, x_label, [each.name for each in quantities]))}
    with rc_context(style):
        figure = Figure(figsize=(4.6, 2.5), layout="constrained")
        axes = figure.add_subplot()
        axes.axhline(0, color=INK, linewidth=0.6)
        step = 0.02 * (np.ptp(at) or 1.0)  # intervals at one setting stand beside each other
        for index, each in enumerate(quantities):
            values = [at_setting.value for at_setting in each.intervals]
            # A bootstrap interval need not hold its value; matplotlib takes no negative lengths.
            reach = np.array([[max(i.value - i.low, 0), max(i.high - i.value, 0)] for i in each.intervals]).T
            how: dict[str, Any] = {"color": COLOURS[index % len(COLOURS)], "label": each.name, "capsize": 2}
            axes.errorbar(at + step * index, values, yerr=reach, fmt="o-" if on_scale else "o", markersize=4, **how)
        axes.set_xticks(at, settings)
        axes.set_xlabel(x_label)
        axes.set_ylabel(label)
        # Above the axes: inside, it would lie over one interval or another.
        axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderpad=0)
        return _svg(figure)


def waterfall_svg(bars: Sequence[Bar], *, x_label: str = "gain, in deviations of the person's scores") -> str:
    """Draw the steps of a waterfall below each other, each gain above its personal part, intervals as whiskers.

    The parts stand below and not inside the gains: where a stranger's picture does harm, the personal part is larger.

    Args:
        bars: from the top down.
        x_label: of the horizontal axis.

    Raises:
        ValueError: there is no bar.
    """
    if not bars:
        raise ValueError("a waterfall needs at least one bar, got 0")
    style: dict[Any, Any] = _STYLE | {"svg.hashsalt": repr([bar.label for bar in bars])}
    with rc_context(style):
        figure = Figure(figsize=(7.2, 0.7 + 0.56 * len(bars)), layout="constrained")
        axes = figure.add_subplot()
        gains = [(row - 0.15 * (bar.personal is not None), bar.gain) for row, bar in enumerate(bars)]
        personal = [(row + 0.2, bar.personal) for row, bar in enumerate(bars) if bar.personal is not None]
        _draw_bars(axes, gains, COLOURS[0], "over the item's own picture", height=0.44)
        if personal:
            _draw_bars(axes, personal, COLOURS[1], "personal: over the one for a stranger", height=0.24)
            axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderpad=0)
        axes.axvline(0, color=INK, linewidth=0.6)
        axes.margins(x=0.13)  # room for the numbers beside the whiskers
        axes.set_yticks(range(len(bars)), [bar.label for bar in bars])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.invert_yaxis()
        axes.grid(axis="x", linewidth=0.4, color=INK, alpha=0.15)
        axes.set_axisbelow(True)
        axes.set_xlabel(x_label)
        return _svg(figure)


def _draw_bars(axes: Axes, bars: Sequence[tuple[float, Interval]], colour: str, name: str, *, height: float) -> None:
    """Horizontal bars (position, gain) from 0 with their intervals and, behind these, their values."""
    at, values = [y for y, _ in bars], [gain.value for _, gain in bars]
    # A bootstrap interval need not hold its value; matplotlib takes no negative lengths.
    errors = np.array([[max(g.value - g.low, 0), max(g.high - g.value, 0)] for _, g in bars]).T
    axes.barh(at, values, height, color=colour, alpha=0.85, label=name)
    axes.errorbar(values, at, xerr=errors, fmt="none", ecolor=INK, elinewidth=0.9, capsize=2.2, capthick=0.9)
    for y, gain in bars:
        # Behind the whisker, on the side to which the bar points.
        right = gain.value >= 0
        end = max(gain.high, 0) if right else min(gain.low, 0)
        axes.annotate(
            f"{gain.value:+.3f}",
            (end, y),
            (4 if right else -4, 0),
            textcoords="offset points",
            ha="left" if right else "right",
            va="center",
            fontsize=7.5,
        )


def _draw(axes: Axes, curve: Curve, colour: str) -> None:
    steps, values = np.asarray(curve.steps, float), np.asarray(curve.values, float)
    window = len(values) // 15
    if window < 3:  # fewer than 45 points: too few to smooth
        axes.plot(steps, values, color=colour, linewidth=1.6, label=curve.name, marker="o" * (len(values) == 1))
        return
    smooth = np.convolve(values, np.full(window, 1 / window), mode="valid")
    axes.plot(steps, values, color=colour, linewidth=0.6, alpha=0.3)
    axes.plot(steps[window // 2 :][: len(smooth)], smooth, color=colour, linewidth=1.8, label=curve.name)


def _svg(figure: Figure) -> str:
    """The figure as SVG without XML preamble, date or background, in the colour of the page's text."""
    FigureCanvasSVG(figure)
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    return text.replace(INK, "currentColor").replace("'DejaVu Sans'", "system-ui").replace("DejaVu Sans", "system-ui")
