"""RQ4: do personalised pictures improve the recommender? Protocols, controls and intervals (the paper's Table 4).

    python experiments/rq4.py --config experiments/configs/ml-100k.yaml
    python experiments/rq4.py --config experiments/configs/movie-posters.yaml --data <folder> --weights <folder>

Hardware: two CPU cores. Minutes and expected numbers: docs/results.md. Stopped and started again, it continues.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ragar_rec.cli import main as ragar_rec

ARGS = {
    "config": Path(__file__).parent / "configs" / "ml-100k.yaml",
    "data": None,
    "weights": None,
    "output": Path("output") / "rq4",
}


def main(arguments: list[str] | None = None) -> int:
    """Run the whole pipeline by the command line's own code; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in ARGS.items():
        parser.add_argument(f"--{name}", type=Path, default=default)
    options, overrides = parser.parse_known_args(arguments)
    given = [f"--{name}={value}" for name, value in vars(options).items() if value is not None]
    return ragar_rec(["demo", *given, *overrides])


if __name__ == "__main__":
    sys.exit(main())
