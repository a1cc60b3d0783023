"""The table of planted gains for a terminal."""

from __future__ import annotations

import math

import pandas as pd

from ragar_rec.evaluation.planted import size_found


def format_planted(table: pd.DataFrame, k: int) -> str:
    """Format the result of :func:`ragar_rec.evaluation.planted.power_table`: a line a size, then what is found."""
    lines = [f"A gain of NDCG@{k} planted in your own lists would have been found:"]
    for size, gain, found in table.itertuples(index=False):
        unknown = "cannot be: no order gains that"
        known = unknown if math.isnan(found) else f"({gain:+.4f}) with a probability of {found:.0%}"
        lines.append(f"  {size:+.1%} {known}")
    least = size_found(table)
    lines.append(
        f"A gain of {least:+.1%} would have been found with a probability of 80 %."
        if least is not None
        else "None of them would have been found with a probability of 80 %: more people are needed, or a larger C."
    )
    return "\n".join(lines)
