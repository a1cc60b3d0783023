"""The report: one self-contained HTML page, made of plain data.

Pictures are embedded as base64, curves as SVG in the colour of the page's text. The numbers are those of results.json.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from ragar_rec.evaluation.finding import Finding
from ragar_rec.evaluation.verdict import Verdict
from ragar_rec.report.glossary import GLOSSARY, Term
from ragar_rec.report.pictures import Picture, data_uri
from ragar_rec.report.plots import Curve, curves_svg, waterfall_svg
from ragar_rec.report.reading import readings
from ragar_rec.report.tables import Estimate, Line, Table, metric_name
from ragar_rec.report.waterfall import waterfall_bars
from recsys.scoring.statistics import Interval

_WORDS = re.compile("|".join(["`([^`]+)`", *(f"({term.pattern})" for term in GLOSSARY)]))
"""Names in backticks (group 1), and the terms of the glossary (a group each, in its order)."""


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
    """One user: the history, the pictures generated from it, and the rank of the reference before and after."""

    user: str
    history: Sequence[HistoryItem]
    """Oldest first."""
    reference_title: str
    reference: Picture
    v_glob: Picture | None
    """From the keywords alone; None if the system has no such picture."""
    v_gen: Picture
    rank_original: int
    rank_generated: int
    keywords: Sequence[str] = ()
    note: str = ""

    @property
    def delta_r(self) -> float:
        """Delta R (eq. 16) of this person's two ranks."""
        return (self.rank_original - self.rank_generated) / (1 + self.rank_original)


@dataclass(frozen=True)
class Pair:
    """A reference beside the picture generated from it."""

    reference: Picture
    generated: Picture
    caption: str = ""
    kept: Picture | None = None
    """The mask of what the generated picture keeps of the reference, in white; None where it keeps nothing."""


@dataclass(frozen=True)
class Appearance:
    """One measure of how pictures look, see :mod:`generation.appearance`: of v_gen, and of its references."""

    name: str
    generated: float
    reference: float
    difference: Interval | None = None
    """Generated less reference, paired; None where the measure is one of all pictures together."""


@dataclass(frozen=True)
class Report:
    """Everything the page shows."""

    title: str
    subtitle: str
    """The dataset, and a notice if its pictures are rendered."""
    verdicts: Sequence[Verdict] = ()
    """The answer for each system."""
    summary: Sequence[str] = ()
    """Sentences; `code` in backticks."""
    tables: Sequence[Table] = ()
    curves: Sequence[CurveGroup] = ()
    showcases: Sequence[Showcase] = ()
    pairs: Sequence[Pair] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Label -> text: command, machine, versions."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Stage -> seconds that its build took."""
    results_notes: Sequence[str] = ()
    """Sentences above the tables."""
    people_notes: Sequence[str] = ()
    """Sentences above the showcases."""
    findings: Sequence[Finding] = ()
    """Of the diagnosis, in its order; the waterfall is drawn from them."""
    keep: str = ""
    """Sentences on what generated pictures keep; empty where they keep nothing."""
    appearances: Sequence[Appearance] = ()
    """How generated pictures look beside their references."""

    def html(self) -> str:
        """The page as text; the same data give the same text."""
        environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent),
            autoescape=True,
            undefined=StrictUndefined,  # a misspelt name in the template is an error and no empty text
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters |= {
            "uri": data_uri,
            "words": words,
            "readings": readings,
            "svg": lambda group: Markup(curves_svg(group.curves, label=group.label)),
            "metric": metric_name,
            "waterfall": lambda findings: Markup(waterfall_svg(bars) if (bars := waterfall_bars(findings)) else ""),
            "duration": duration,
        }
        return environment.get_template("report.html.jinja").render(
            report=self, differences=paired_differences, glossary=GLOSSARY
        )

    def write(self, path: Path) -> None:
        """Write the page; the file appears under its name only when it is whole."""
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text(self.html(), encoding="utf-8")
        temporary.replace(path)


def duration(seconds: float) -> str:
    """Format a duration: ``0.4 s``, ``41 s``, ``3 min 05 s``, ``1 h 02 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def words(text: str, defined: Term | None = None) -> Markup:
    """Format a text for HTML: backticks become <code>, and a term of the glossary links to it where it first stands.

    Args:
        text: plain, with names in backticks.
        defined: the term whose definition this is; it does not link to itself.
    """
    linked = {defined.anchor} if defined else set[str]()

    def formatted(match: re.Match[str]) -> str:
        code = match[1]
        shown = f"<code>{code}</code>" if code else match[0]
        if code:
            term = next((term for term in GLOSSARY if term.name == code), None)
        else:
            term = GLOSSARY[(match.lastindex or 0) - 2]
        if term is None or term.anchor in linked:
            return shown
        linked.add(term.anchor)
        definition = escape(term.definition.replace("`", ""))
        return f'<a class="term" href="#{term.anchor}" title="{definition}">{shown}</a>'

    return Markup(_WORDS.sub(formatted, str(escape(text))))


class PairedDifference(NamedTuple):
    """One paired difference as the page shows it: ``label`` minus ``compared_with``."""

    label: str
    compared_with: str
    own: bool
    """Whether the label is the system's own line."""
    estimate: Estimate
    bar: Markup
    """The interval as a drawing, see :func:`_interval_svg`."""


def paired_differences(table: Table, metric: str) -> list[PairedDifference]:
    """The paired differences of a metric, those of the system's own line first.

    Of two differences that are each other's negative one is kept. All drawings of a metric have one scale, with 0 in
    the middle.
    """
    baselines = table.compared_with

    def position(line: Line) -> int:
        # Own lines, then the others, then the baselines, the first of them last: of `a - b` and `b - a` that one comes
        # first, and is kept, whose second line is the more basic.
        if line.own:
            return 0
        return 1 + len(baselines) - baselines.index(line.label) if line.label in baselines else 1

    estimates: dict[tuple[str, str], tuple[bool, Estimate]] = {}
    for line in sorted(table.lines, key=position):
        for other in baselines:
            estimate = line.differences.get((metric, other))
            if estimate is not None and (other, line.label) not in estimates:
                estimates[line.label, other] = (line.own, estimate)
    ends = [
        abs(end)
        for _, estimate in estimates.values()
        for end in (estimate.low, estimate.high, estimate.value)
        if end is not None
    ]
    reach = max(ends, default=0) or 1  # all differences may be 0
    return [
        PairedDifference(label, other, own, estimate, _interval_svg(estimate, reach))
        for (label, other), (own, estimate) in estimates.items()
    ]


def _interval_svg(estimate: Estimate, reach: float) -> Markup:
    """A point with its interval as a line, on a scale from ``-reach`` to ``reach`` with a mark at 0."""
    low = estimate.low if estimate.low is not None else estimate.value
    high = estimate.high if estimate.high is not None else estimate.value
    # The view box is 160 wide: 0 stands at 80, and 4 at either side are left for the point's radius.
    x, left, right = (80 + 76 * end / reach for end in (estimate.value, low, high))
    return Markup(
        f'<svg class="bar" viewBox="0 0 160 14" aria-hidden="true"><line class="zero" x1="80" x2="80" y1="0" y2="14"/>'
        f'<line x1="{left:.1f}" x2="{right:.1f}" y1="7" y2="7"/><circle cx="{x:.1f}" cy="7" r="3.2"/></svg>'
    )
