"""RQ4: do personalised pictures improve the recommender? Protocols, controls and intervals (the paper's Table 4).

    python experiments/rq4.py --config ml-100k-long
    python experiments/rq4.py --config movie-posters --data <folder> --weights <folder> --complete
    python experiments/rq4.py --config ml-100k --quick --output output/demo

After the tables of every protocol, control and judge (`judges` in the config), a short one for each protocol: the
original pictures (ORI), RAGAR and PMG side by side, also in <output>/table4.md. `--systems` names other systems, the
first of which the report shows. Protocols and controls are the config's; `--complete` takes all there are: `catalogue`
too, which trains every judge anew for each control and each of `evaluation.catalogue_seeds`, and the controls `noise`
and `everybody`.

`--quick` measures 40 people after few steps of training: it shows that everything runs, and no effect. With data and
rankers in the output folder's store it takes minutes on two cores, with `--complete` a quarter of an hour of one.

Hardware: two CPU cores. Minutes and expected numbers: docs/results.md. Stopped and started again, it continues.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from ragar_rec.cli import main as ragar_rec
from ragar_rec.config.sections import Control, Protocol
from ragar_rec.evaluation.results import Results
from ragar_rec.studies.arguments import PATHS, as_overrides, script_parser
from ragar_rec.studies.systems_table import systems_tables
from ragar_rec.studies.variants import QUICK_KEYS, QUICK_PEOPLE

CONFIG = Path("ml-100k-long")
QUICK: dict[str, Any] = {
    **QUICK_KEYS,
    "pmg.epochs": 1,
    "evaluation.users": QUICK_PEOPLE,
    "evaluation.targets": 1,
    "evaluation.candidates": 5,
    "evaluation.catalogue_items": 40,
    "evaluation.catalogue_seeds": [0],
    "diagnosis.optimised": 5,
    "judges.shuffles": 1,
}
"""Keys of the quick run."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the whole pipeline by the command line's own code; returns its exit code."""
    parser = script_parser(__doc__, config=CONFIG, data=None, weights=None, output=Path("output") / "rq4")
    parser.add_argument(
        "--systems", default="ragar,pmg", help="ragar, pmg or package.module:name, between commas (default: ragar,pmg)"
    )
    parser.add_argument("--complete", action="store_true", help="every protocol and control")
    parser.add_argument("--quick", action="store_true", help="few people, pictures and steps")
    options, typed = parser.parse_known_args(arguments)
    paths = [f"--{name}={value}" for name, value in vars(options).items() if name in PATHS and value is not None]
    # What was typed comes last, and wins.
    code = ragar_rec(["demo", *paths, *overrides(options), *typed])
    if code == 0:
        table = systems_tables(Results.read(options.output / "results.json").rows)
        (options.output / "table4.md").write_text(table + "\n", encoding="utf-8")
        print(f"\n{table}")
    return code


def overrides(options: argparse.Namespace) -> list[str]:
    """Keys of the config that the script's own options stand for."""
    first, *others = options.systems.split(",")
    keys: dict[str, Any] = {"generator.system": first, "generator.compared_with": others}
    if options.complete:
        keys |= {"evaluation.protocols": [*get_args(Protocol)], "evaluation.controls": [*get_args(Control)]}
    return as_overrides((QUICK if options.quick else {}) | keys)


if __name__ == "__main__":
    sys.exit(main())
