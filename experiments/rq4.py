"""RQ4: do personalised pictures improve the recommender? Protocols, controls and intervals (the paper's Table 4).

    python experiments/rq4.py --config ml-100k-long
    python experiments/rq4.py --config movie-posters --data <folder> --weights <folder>

Hardware: two CPU cores. Minutes and expected numbers: docs/results.md. Stopped and started again, it continues.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ragar_rec.cli import main as ragar_rec
from ragar_rec.studies.arguments import script_parser

CONFIG = Path("ml-100k-long")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the whole pipeline by the command line's own code; returns its exit code."""
    parser = script_parser(__doc__, config=CONFIG, data=None, weights=None, output=Path("output") / "rq4")
    options, overrides = parser.parse_known_args(arguments)
    paths = [f"--{name}={value}" for name, value in vars(options).items() if value is not None]
    return ragar_rec(["demo", *paths, *overrides])


if __name__ == "__main__":
    sys.exit(main())
