"""Does a generator learn what people like, or what its reward likes? Reward by A, judged by B.

    python experiments/reward_matrix.py --features.whiten=48
    python experiments/reward_matrix.py --config movie-posters --data <folder> --weights <folder> --encoders dual,hog

RAGAR is trained by the reward of each model, everything else being the config's, and judged by all models on all
encoders, each trained apart with another seed. Measured on the people kept from the generator's training
(`reflection.held_out`), by their last training item: the judge's score of v_gen less that of the picture made for a
stranger, and less that of the item's own picture, in standard deviations of the person's scores, with 95 % bootstrap
intervals over people. Bold ones survive Holm's correction over their table. One training of each: nothing is said of
others.

Writes <output>/reward-matrix/<reward>-<key>.parquet after each reward; stopped and started again, it continues.
Numbers: docs/results.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ragar_rec.studies.arguments import ExperimentSource, add_names, script_parser
from ragar_rec.studies.reward_matrix import MODELS, RewardMatrix, differences, matrix_table


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, and print both tables."""
    output = Path("output") / "reward-matrix"
    parser = script_parser(__doc__, config=Path("ml-100k"), data=None, weights=None, output=output)
    add_names(parser, "--models", MODELS, noun="model")
    parser.add_argument("--encoders", default="dual,hog", help="image encoders of the judges; rewards read the first")
    options, overrides = parser.parse_known_args(arguments)
    run = ExperimentSource.of(options, overrides).open()
    frame = pd.concat(RewardMatrix(run, options.models, options.encoders.split(",")).frames(), ignore_index=True)
    for title, control in (("own - a stranger's", "shuffled_user"), ("own - the item's own", "reference_image")):
        print(f"\n{title}\n\n{matrix_table(differences(frame, control))}")


if __name__ == "__main__":
    main()
