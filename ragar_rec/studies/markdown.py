"""Tables in Markdown, and intervals as their cells show them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def markdown_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A heading, the line below it, and a line per row."""
    lines = [_line(titles), "|" + "---|" * len(titles), *map(_line, rows)]
    return "\n".join(lines)


def interval_text(interval: Mapping[str, Any], form: str = "+.4f") -> str:
    """A value with the ends of its interval, ``+0.1234 [+0.1001, +0.1400]``.

    Args:
        interval: ``value``, ``low`` and ``high``.
        form: format of each number.
    """
    return f"{interval['value']:{form}} [{interval['low']:{form}}, {interval['high']:{form}}]"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
