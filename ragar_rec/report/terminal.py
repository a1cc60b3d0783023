"""Tables for a terminal: the question, definitions of new words, a block per metric, and the table read aloud."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from ragar_rec.evaluation.verdict import Verdict
from ragar_rec.report.glossary import Term, terms_in
from ragar_rec.report.reading import readings
from ragar_rec.report.tables import Estimate, Table, metric_name

WIDTH = 110
"""Columns after which a sentence goes on in the next line."""

ROUNDING = 5e-5
"""What four decimals show as 0."""

INTERVALS = "value [interval], vs: paired difference (seen from)"
"""What every table has, so that the first one defines it."""


def format_tables(tables: Iterable[Table]) -> str:
    """Format tables for a terminal; a word is defined in front of the first table that uses it."""
    defined: set[Term] = set()
    parts: list[str] = []
    for table in tables:
        new = [term for term in _terms(table) if term not in defined]
        defined.update(new)
        parts.append(format_table(table, new))
    return "\n\n\n".join(parts)


def format_verdicts(verdicts: Iterable[Verdict]) -> str:
    """Format verdicts: the rule as a heading, then the sentence, and judges that were not believed."""
    return "\n".join(
        line
        for verdict in verdicts
        for line in (
            f"{verdict.system}: {verdict.rule}",
            *(part for text in (verdict.sentence, *verdict.unfit) for part in _wrapped(text, "  ")),
        )
    )


def format_table(table: Table, terms: Sequence[Term] = ()) -> str:
    """Format a table: title, question, definitions, a block per metric, and the table read aloud.

    Args:
        table: ``*`` marks a difference whose interval excludes 0 and that survives the correction for their number.
        terms: whose definitions stand in front of the numbers.
    """
    output = [table.title.replace("`", "")]
    explanation = f"! {table.explanation}" if table.privileged else table.explanation
    output += [line for text in (table.question, explanation) if text for line in _wrapped(text)]
    output += [line for term in terms for line in _wrapped(f"{term.name}: {term.definition}", "  ")]
    for metric in table.metrics:
        header, *body = _aligned(_cells(table, metric))
        output += ["", header, "-" * max(map(len, [header, *body])), *body]
    for sentences in readings(table):
        output += ["", *_wrapped(f"In words: {sentences}")]
    return "\n".join(output)


def _terms(table: Table) -> list[Term]:
    """The terms that a table uses, in the order of the glossary."""
    headings = [metric_name(metric) for metric in table.metrics]
    labels, trainings = [line.label for line in table.lines], "sd" if table.trained_again else ""
    return terms_in([table.title, table.explanation, *headings, *labels, INTERVALS, trainings])


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text.replace("`", ""), WIDTH, initial_indent=indent, subsequent_indent=indent + "  " * bool(indent)
    )


def _cells(table: Table, metric: str) -> list[list[str]]:
    """A metric's cells, header first: label, value, and the difference to each line that is compared with."""
    cells = [[metric_name(metric), "value", *(f"vs {other} (seen from)" for other in table.compared_with)]]
    for line in table.lines:
        value = line.values.get(metric)
        differences = [line.differences.get((metric, other)) for other in table.compared_with]
        cells.append(
            [
                line.label,
                value.text() if value else "",
                *(_difference(difference) if difference else "" for difference in differences),
            ]
        )
    return cells


def _difference(estimate: Estimate) -> str:
    """``+0.0492 [+0.0355, +0.0650]*``; where the interval holds 0, the size from which on it would have been seen."""
    # Sums that differ in their rounding alone are no difference that could be seen.
    hidden = estimate.excludes_zero or not estimate.visible or estimate.visible < ROUNDING
    unseen = "" if hidden else f" ({estimate.visible:.4f})"
    between = "" if estimate.spread is None else f" sd {estimate.spread:.4f}"
    return f"{estimate.text(signed=True)}{'*' if estimate.sign else ''}{between}{unseen}"


def _aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines of text with aligned columns; a difference that no row has is left out."""
    used = [column for column in range(len(cells[0])) if column < 2 or any(row[column] for row in cells[1:])]
    widths = [max(len(row[column]) for row in cells) for column in used]
    return [
        "  ".join(row[column].ljust(width) for column, width in zip(used, widths, strict=True)).rstrip()
        for row in cells
    ]
