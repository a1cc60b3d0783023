"""The entries of a store as a table."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from ragar_rec.store.inventory import StoredEntry, size_text


def store_table(entries: Sequence[StoredEntry], used: Collection[Path]) -> str:
    """A line for each entry, the oldest first, and the sums.

    Args:
        entries: what stands in the store.
        used: folders that the config uses.
    """
    lines = [f"{'stage':<18}{'key':<18}{'size':>10}  {'made (UTC)':<18}used"]
    for entry in entries:
        state = "yes" if entry.folder in used else "no"
        lines.append(
            f"{entry.stage:<18}{entry.key:<18}{size_text(entry.size):>10}  {entry.created:%Y-%m-%d %H:%M}  {state}"
            f"{'' if entry.finished else ', unfinished'}"
        )
    total, in_use = (sum(entry.size for entry in some) for some in (entries, [e for e in entries if e.folder in used]))
    lines.append(f"{len(entries)} entries, {size_text(total)}, of which this config uses {size_text(in_use)}")
    return "\n".join(lines)
