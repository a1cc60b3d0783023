"""The report: one HTML page that needs nothing beside itself, made of plain data.

Pictures travel inside the page as base64, curves as SVG in the page's own ink. The numbers are those of results.json.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from ragar_rec.report.pictures import Picture, data_uri
from ragar_rec.report.plots import Curve, curves_svg
from ragar_rec.report.tables import Estimate, Line, Table, metric_name


@dataclass(frozen=True)
class CurveGroup:
    """Curves that share their axes, under one heading."""

    title: str
    curves: Sequence[Curve]
    label: str = ""
    note: str = ""


@dataclass(frozen=True)
class HistoryItem:
    """An item of a person's history; ``weight`` is its retrieval weight, None where it was not retrieved."""

    picture: Picture | None
    title: str
    weight: float | None = None


@dataclass(frozen=True)
class Showcase:
    """One person: what they liked, what was made for them, and what it changed."""

    user: str
    history: Sequence[HistoryItem]
    """Oldest first."""
    reference_title: str
    reference: Picture
    v_glob: Picture
    v_gen: Picture
    rank_original: int
    rank_generated: int
    keywords: Sequence[str] = ()
    note: str = ""

    @property
    def delta_r(self) -> float:
        """Eq. 16, from this person's two ranks."""
        return (self.rank_original - self.rank_generated) / (1 + self.rank_original)


@dataclass(frozen=True)
class Pair:
    """A reference beside what was generated from it."""

    reference: Picture
    generated: Picture
    caption: str = ""


@dataclass(frozen=True)
class Report:
    """Everything the page shows."""

    title: str
    subtitle: str
    """The dataset, and the notice where its pictures are rendered."""
    summary: Sequence[str] = ()
    """Sentences; `code` in backticks."""
    tables: Sequence[Table] = ()
    curves: Sequence[CurveGroup] = ()
    showcases: Sequence[Showcase] = ()
    pairs: Sequence[Pair] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Command, seed, versions, hardware …: label -> text."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Stage -> seconds it took when it was built."""
    notes: Sequence[str] = ()
    """How to read the page; sentences at its end."""

    def html(self) -> str:
        """The page as text; the same data give the same text."""
        environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters |= {
            "uri": data_uri,
            "code": _code,
            "svg": lambda group: Markup(curves_svg(group.curves, label=group.label)),
            "metric": metric_name,
            "duration": duration,
        }
        return environment.get_template("report.html.jinja").render(report=self, differences=_differences)

    def write(self, path: Path) -> None:
        """Write the page; under its name it is always whole."""
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text(self.html(), encoding="utf-8")
        temporary.replace(path)


def duration(seconds: float) -> str:
    """``0.4 s``, ``41 s``, ``3 min 05 s``, ``1 h 02 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _code(text: str) -> Markup:
    """Backticks as <code>, everything else escaped."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _differences(table: Table, metric: str) -> list[tuple[str, str, bool, Estimate, Markup]]:
    """The paired differences of a metric: whose, to what, whether it is the system's own, the number, a whisker.

    The system's own come first; of two that are each other's negative one is kept. All whiskers of a metric have
    one scale, with 0 in the middle.
    """
    found: dict[tuple[str, str], tuple[bool, Estimate]] = {}
    others = table.compared_with

    def place(line: Line) -> int:  # what others are compared with comes last, the first of them at the end
        return 0 if line.own else 1 + len(others) - others.index(line.label) if line.label in others else 1

    for line in sorted(table.lines, key=place):
        for other in table.compared_with:
            estimate = line.differences.get((metric, other))
            if estimate is not None and (other, line.label) not in found:
                found[line.label, other] = (line.own, estimate)
    ends = [abs(end) for _, it in found.values() for end in (it.low, it.high, it.value) if end is not None]
    reach = max(ends, default=0) or 1
    return [(label, other, own, it, _whisker(it, reach)) for (label, other), (own, it) in found.items()]


def _whisker(it: Estimate, reach: float) -> Markup:
    low, high = it.low if it.low is not None else it.value, it.high if it.high is not None else it.value
    x, left, right = (80 + 76 * end / reach for end in (it.value, low, high))
    return Markup(
        f'<svg class="bar" viewBox="0 0 160 14" aria-hidden="true"><line class="zero" x1="80" x2="80" y1="0" y2="14"/>'
        f'<line x1="{left:.1f}" x2="{right:.1f}" y1="7" y2="7"/><circle cx="{x:.1f}" cy="7" r="3.2"/></svg>'
    )
