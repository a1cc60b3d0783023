"""How fast pictures are made, and what limits it: ratios within one run, beside the bare UNet and codec.

    python experiments/bench_generation.py --json output/bench/generation.json
    python experiments/bench_generation.py --quick

The models have their default sizes and next to no training: time does not depend on weights. Hardware: two CPU cores;
the part `gpu` needs a GPU and is null without one. Minutes and expected numbers: docs/full-size.md.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ragar_rec.studies.arguments import add_names, script_parser
from ragar_rec.studies.generation_benchmark import GenerationBenchmark


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, say what limits each figure, write and print the JSON."""
    parser = script_parser(__doc__, config=None, data=None, weights=None, output=Path("output") / "bench", json=None)
    parser.add_argument("--batch", type=int, default=64, help="pictures at a time")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions; ends within 5 minutes")
    note = ": the JSON keeps what it holds of the others, which without --only is begun anew"
    add_names(parser, "--only", GenerationBenchmark.PARTS, noun="part", default=(), note=note)
    args = parser.parse_args(arguments)
    benchmark = GenerationBenchmark(
        args.output, config=args.config, data=args.data, weights=args.weights, batch=args.batch, quick=args.quick
    )
    print(json.dumps(benchmark.run(args.json, args.only), indent=1))


if __name__ == "__main__":
    main()
