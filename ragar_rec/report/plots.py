"""The door to matplotlib: training curves as SVG text that takes its colour from the page."""

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
        values, low, high: one each for every setting.
    """

    name: str
    values: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


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
            values = np.asarray(each.values)
            reach = np.abs(np.array([each.low, each.high]) - values)
            how: dict[str, Any] = {"color": COLOURS[index % len(COLOURS)], "label": each.name, "capsize": 2}
            axes.errorbar(at + step * index, values, yerr=reach, fmt="o-" if on_scale else "o", markersize=4, **how)
        axes.set_xticks(at, settings)
        axes.set_xlabel(x_label)
        axes.set_ylabel(label)
        axes.legend(frameon=False, fontsize=8)
        return _svg(figure)


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
