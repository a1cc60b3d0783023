"""A benchmark: parts that are measured one after the other, and their figures in a JSON file."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

Part = Callable[[], Mapping[str, Any]]
"""Measures something, prints it with what limits it, and returns its figures by name."""


def measure(
    parts: Mapping[str, Part], file: Path, *, only: Sequence[str] = (), figures: Collection[str] | None = None
) -> dict[str, Any]:
    """Every figure by its name; what is known so far is on disk after each part.

    Args:
        parts: by name, in the order of measuring.
        file: receives the figures as JSON. A run of some parts keeps what it holds of the others, a run of all parts
            begins with nothing.
        only: names of the parts to measure; all if empty.
        figures: names that are kept of an earlier run; all if None.

    Returns:
        What the file holds afterwards.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    earlier: dict[str, Any] = json.loads(file.read_text()) if only and file.is_file() else {}
    known = {name: value for name, value in earlier.items() if figures is None or name in figures}
    for name in only or parts:
        known |= parts[name]()
        file.write_text(json.dumps(known, indent=1))
    return known
