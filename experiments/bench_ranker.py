"""How fast the ranker is, and what limits it: ratios within one run, beside the straightforward forms.

    python experiments/bench_ranker.py --data <folder> --weights <folder> --json output/bench/ranker.json
    python experiments/bench_ranker.py --quick

With --data (MovieLens-latest-small with posters) the epoch is movie-posters', without it that of a synthetic world of
the same size. Hardware: two CPU cores, no GPU. Minutes and expected numbers: docs/ranker.md.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ragar_rec.studies.arguments import add_names, script_parser
from ragar_rec.studies.ranker_benchmark import QUICK, RankerBenchmark, Sizes


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, say what limits each figure, write and print the JSON."""
    parser = script_parser(__doc__, data=None, weights=None, output=Path("output") / "bench", json=None)
    parser.add_argument("--quick", action="store_true", help="smaller sizes; ends within 5 minutes")
    note = ": the JSON keeps what it holds of the others, which without --only is begun anew"
    add_names(parser, "--only", RankerBenchmark.PARTS, noun="part", default=(), note=note)
    args = parser.parse_args(arguments)
    sizes = QUICK if args.quick else Sizes()
    benchmark = RankerBenchmark(args.output, sizes, data=args.data, weights=args.weights)
    print(json.dumps(benchmark.run(args.json, args.only), indent=1))


if __name__ == "__main__":
    main()
