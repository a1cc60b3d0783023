"""The paper's Table 4: the original pictures and every system side by side, by every judge, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from ragar_rec.evaluation.per_user import OWN
from ragar_rec.evaluation.results import Row
from ragar_rec.report.tables import metric_name
from ragar_rec.studies.markdown import interval_text, markdown_table

ORIGINAL = "ORI"
"""The paper's name of the control ``original``."""
PROTOCOLS = ("candidates", "reference", "catalogue")
"""Protocols that rank items."""
METRICS = ("recall", "ndcg")
"""The table's metrics, without their cut-off."""


def systems_tables(rows: Sequence[Row]) -> str:
    """A table for each protocol that was run, with a line for each system and a pair of columns for each judge.

    ``ORI`` is the control ``original``, which does not depend on the system.
    """
    parts = []
    for protocol in PROTOCOLS:
        chosen = [row for row in rows if row.protocol == protocol and row.metric.partition("@")[0] in METRICS]
        values = [row for row in chosen if row.compared_with is None]
        if values:
            users = max(row.users for row in values)
            parts.append(f"`{protocol}`, {users} people\n\n{_table(values)}")
    return "\n\n".join(parts)


def _table(values: Sequence[Row]) -> str:
    """Systems by judges and metrics."""
    columns = list(dict.fromkeys((row.judge, row.metric) for row in values))
    cells: dict[str, dict[tuple[str, str], str]] = {ORIGINAL: {}}
    for row in values:
        if row.control in (OWN, "original"):
            name = ORIGINAL if row.control == "original" else row.system
            cells.setdefault(name, {})[row.judge, row.metric] = interval_text(asdict(row), ".4f")
    titles = ["pictures", *(f"{metric_name(metric)}, {judge}" for judge, metric in columns)]
    return markdown_table(titles, [[name, *(found[column] for column in columns)] for name, found in cells.items()])
