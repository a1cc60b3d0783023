"""Shops in which the truth is known: what the protocols estimate beside the true gain; right verdicts.

    python experiments/worlds.py --seeds 100 --output output/worlds
    python experiments/worlds.py --seeds 20 --features FILE.safetensors --output output/worlds-posters

Simulated people click on items by popularity, category and visual taste (ragar_rec/evaluation/worlds). Each trial draws
a shop, a log, eight trainings of VBPR (two encoders, own and three times shuffled photos), the protocols, the
ownership permutation and the verdict. Looks are whitened features of pictures: those of --features, a table as the
store has it (`store/features-*/image.safetensors`) or as docs/own-parts.md describes, else a Gaussian cloud.

Gains are of NDCG@10. The truth is the expected NDCG@10, over the people's next clicks, of the candidates re-ranked by
and shown with the system's pictures, less that of the original list. Cells are means over seeds with 95 % bootstrap
intervals over seeds.

Writes <output>/worlds.csv (a row for each trial and ranker) and <output>/worlds.svg. A trial takes 1.5 seconds of a
core; numbers: docs/worlds.md.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from ragar_rec.evaluation.worlds.scenarios import SCENARIOS
from ragar_rec.studies.arguments import add_names
from ragar_rec.studies.worlds import estimates_table, plot_estimates, run_trials, verdicts_table


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the trials, write the rows and the plot, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=Path, metavar="FILE", help="features of real pictures (default: a cloud)")
    parser.add_argument("--seeds", type=int, default=5, help="trials of each world (default: 5)")
    parser.add_argument("--jobs", type=int, default=1, help="trials at a time, each on one thread")
    parser.add_argument("--output", type=Path, default=Path("output") / "worlds", metavar="FOLDER")
    add_names(parser, "--worlds", SCENARIOS, noun="world")
    args = parser.parse_args(arguments)
    if args.seeds < 1 or args.jobs < 1:
        parser.error(f"--seeds and --jobs must be at least 1, not {args.seeds} and {args.jobs}")
    frame = run_trials(args.worlds, range(args.seeds), args.features, jobs=args.jobs)
    args.output.mkdir(parents=True, exist_ok=True)
    frame.to_csv(args.output / "worlds.csv", index=False)
    plot_estimates(frame, args.output / "worlds.svg")
    print(f"\n{estimates_table(frame)}\n\n{verdicts_table(frame)}")


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"  # Of the trials, which begin as copies of this environment.
    main()
