"""Whether rankers use the pictures that they are given: VBPR, LATTICE, FREEDOM and MICRO beside rankers without any.

    python experiments/picture_use.py --data <folder> --weights <folder> --output output/warm --features.whiten=128
    python experiments/picture_use.py --data <folder> --weights <folder> --output output/cold --features.whiten=128 \
        "--eval_args.split={COLD: 0.2}"

Each ranker is trained at the point that the table of rankers chose on validation, with each seed twice: with the
items' own pictures and with pictures *shuffled* among the items, which leaves everything but what a picture says of its
item. The first is also tested with *permuted* pictures: the trained ranker is given those of other items, and its item
graphs are computed anew. Own less permuted says whether it looks at pictures, own less shuffled whether they are worth
anything to it. Each seed draws one permutation for both.

Cells: the mean over people of the mean over seeds, its 95 % bootstrap interval over people, ± the standard deviation
over seeds; differences are paired by person. Under the cold-start split, items without any training interaction are
ranked among each other; in the last column, among all. Under --image-alone rankers read no text.

Writes <output>/picture_use.json after every row, and beside it <output>/picture_use/<ranker>.parquet (user, metric,
value, seed, pictures). Trainings are kept: stopped and started again, it continues. --quick trains two epochs of one
seed, in <output>/quick. Hardware: two CPU cores; minutes and numbers: docs/results.md.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ragar_rec.studies.arguments import ExperimentSource, add_names, script_parser
from ragar_rec.studies.picture_use import POINTS, PictureUse

CONFIG = Path("movie-posters")


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, write and print the table."""
    parser = script_parser(__doc__, config=CONFIG, data=None, weights=None, output=Path("output") / "picture_use")
    add_names(parser, "--models", POINTS, noun="ranker")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each row")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time, each on one thread")
    parser.add_argument("--image-alone", action="store_true", help="without text, which says much of what pictures say")
    parser.add_argument("--quick", action="store_true", help="two epochs, one seed")
    args, overrides = parser.parse_known_args(arguments)
    # Not at the top, which the training processes import too: what generation imports is no part of their memory.
    from ragar_rec.provenance import provenance

    run = ExperimentSource.of(args, overrides).open()
    config = run.ranker.recbole
    if args.image_alone:
        config |= {"features": {"image": config["features"]["image"]}}
    study = PictureUse(
        config | ({"epochs": 2} if args.quick else {}),
        args.output / "quick" if args.quick else args.output,
        n_seeds=1 if args.quick else args.seeds,
        jobs=args.jobs,
    )
    for model in args.models:
        study.add(model)
        study.write(provenance(run))
    print("\n" + study.markdown())


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"  # Of the trainings, which begin as copies of this environment.
    main()
