"""The results table of the rankers: ten of them and what MICRO is without each of its parts, on one temporal split.

    python experiments/ranker.py --config ml-100k-long --output output/rankers --jobs 2

All rows share the split, the seeds and the config's batch size, epochs and patience. Each ranker is trained at every
point of its grid (ragar_rec/studies/grids.py) with the first seed; validation (`valid_metric`) picks one, which is
trained with the other seeds. The test part is read for that point alone. MICRO's reduced rows keep the point that was
tuned for whole MICRO, which favours whole MICRO. A row marked * has its reasons below the table: that one, a chosen
value at an end of its grid (0 is no end: nothing lies below it), or a training that used all its epochs and was best
within `eval_step` of the last.

Intervals are 95 % bootstrap intervals over people, each person's values averaged over seeds; `sd` is the standard
deviation of the mean over seeds. Seconds per epoch are the median over the epochs of the chosen point. `fit s` is the
median over seeds of what construction and all epochs took (ItemKNN does its work when it is constructed), without
validation; – where the training was made before this was measured. Both are wall seconds, taken while `--jobs`
trainings run: with more than one they contend for cores and memory, so compare seconds of --jobs 1. Peak memory is that
of the process that trains, read from /proc (Linux), with the libraries, which are the same for all rows.

Writes <output>/rankers.json after every row: `metrics` are ours, from everybody's ranks; `recbole` is what RecBole's
evaluator says of the same rankers, a value a seed. Beside it <output>/rankers/<row>-ranks.parquet (seed, user, item,
rank of every held-out item) and <row>-lists.parquet (seed, user, item, rank, score of everybody's first ten). Every
training stands in <output>/rankers/<model>/<point>/<seed>: stopped and started again, it continues. --quick (two
epochs, one seed, the first point of every grid) does the same in <output>/quick. Not for `accelerate launch`, as each
training gets a process of its own: several processes share a training under `ragar-rec train-ranker`. Hardware: two
CPU cores; minutes and numbers: docs/results.md.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from torch import distributed

from ragar_rec.studies.arguments import ExperimentSource, add_names, script_parser
from ragar_rec.studies.grids import ROWS
from ragar_rec.studies.rankers import RankerTable

CONFIG = Path("ml-100k-long")


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, write and print the table."""
    if distributed.is_torchelastic_launched():
        sys.exit(
            "experiments/ranker.py starts a process for each training itself: run it by python, with --jobs for "
            "several at a time, not under accelerate launch or torchrun"
        )
    parser = script_parser(__doc__, config=CONFIG, data=None, weights=None, output=Path("output") / "rankers")
    add_names(parser, "--models", ROWS, noun="row")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each row's chosen point")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time, each on one thread")
    parser.add_argument("--quick", action="store_true", help="two epochs, one seed, the first point of every grid")
    args, overrides = parser.parse_known_args(arguments)
    if args.seeds < 1 or args.jobs < 1:
        parser.error(f"--seeds and --jobs must be at least 1, not {args.seeds} and {args.jobs}")
    # Not at the top, which the training processes import too: what generation imports is no part of their memory.
    from ragar_rec.provenance import provenance

    run = ExperimentSource.of(args, overrides).open()
    table = RankerTable(
        run.ranker.recbole | ({"epochs": 2} if args.quick else {}),
        args.output / "quick" if args.quick else args.output,
        n_seeds=1 if args.quick else args.seeds,
        jobs=args.jobs,
        first_point=args.quick,
    )
    for name in args.models:
        table.add(name)
        table.write(provenance(run))
    print("\n" + table.markdown())


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"  # Of the trainings, which begin as copies of this environment.
    main()
