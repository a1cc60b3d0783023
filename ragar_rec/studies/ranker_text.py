"""The table of rankers as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ragar_rec.studies.grids import WHOLE
from ragar_rec.studies.markdown import interval_text, markdown_table
from recsys.scoring.metrics import list_metric_name

METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
"""In the order of the columns."""


def table_text(rows: Mapping[str, Mapping[str, Any]], differences: Mapping[str, Mapping[str, Any]]) -> str:
    """Two tables: rows with their cautions below, and differences to MICRO.

    Args:
        rows: as rankers.json has them, by name.
        differences: an interval by name of the other row and metric.
    """
    titles = [list_metric_name(metric) for metric in METRICS]
    heading = ("ranker", *titles, "chosen", "s / epoch", "fit s", "peak GB")
    blocks = [markdown_table(heading, map(_cells, rows.values()))]
    if cautions := [f"{name}: {'; '.join(row['cautions'])}" for name, row in rows.items() if row["cautions"]]:
        blocks.append(f"\\* {'. '.join(cautions)}.")
    if differences:
        lines = [
            (f"{WHOLE} − {name}", *(interval_text(interval) for interval in by_metric.values()))
            for name, by_metric in differences.items()
        ]
        blocks.append(markdown_table(("difference", *titles), lines))
    return "\n\n".join(blocks)


def _cells(row: Mapping[str, Any]) -> list[str]:
    metrics = list(row["metrics"].values())
    cells = [interval_text(metric, ".4f") for metric in metrics]
    # One seed has no standard deviation.
    spreads = ["" if metric["sd"] is None else f" sd {metric['sd']:.4f}" for metric in metrics]
    settings = ", ".join(f"{key} {value}" for key, value in row["settings"].items()) or "–"
    fit = "–" if row["fit_seconds"] is None else f"{row['fit_seconds']:.1f}"
    name = f"{row['row']} \\*" if row["cautions"] else row["row"]
    return [
        name,
        *(cell + spread for cell, spread in zip(cells, spreads, strict=True)),
        settings,
        f"{row['seconds_per_epoch']:.2f}",
        fit,
        f"{row['peak_memory_gb']:.2f}",
    ]
