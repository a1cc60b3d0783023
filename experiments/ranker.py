"""The ranker beside what it must beat: Recall@10 and NDCG@10 of Pop, LightGCN and MICRO on one temporal split.

    python experiments/ranker.py --config experiments/configs/ml-100k.yaml --output output/rq4

Hardware: two CPU cores, about two minutes beside what rq4.py has already built. Expected numbers: docs/results.md.
Writes <output>/rankers/<name>-ranks.parquet (user, item, rank of every held-out item) and <name>-lists.parquet (user,
item, rank, score of everybody's first ten).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from torch import Tensor

from ragar_rec.pipeline import Run
from recsys.evaluation import held_out_ranks, per_user, top_lists, write_parquet
from recsys.recbole import full_scores, with_ranker
from recsys.statistics import interval, paired_difference
from recsys.training import TrainedRanker, led, train_ranker


@dataclass(frozen=True)
class Args:
    """What the experiment takes."""

    config: Path = Path(__file__).parent / "configs" / "ml-100k.yaml"
    data: Path | None = None
    weights: Path | None = None
    output: Path = Path("output") / "rq4"


def main() -> None:
    """Train what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in vars(Args()).items():
        parser.add_argument(f"--{name}", type=Path, default=default)
    options, overrides = parser.parse_known_args()
    args = Args(**vars(options))
    run = Run.open(args.config, overrides, args.data, args.weights, args.output)
    rankers: dict[str, TrainedRanker] = {"MICRO": run.ranker}
    for name in ("LightGCN", "Pop"):
        rankers[name] = train_ranker(with_ranker(run.recbole, name), args.output / "rankers" / name)
    values = {name: per_person(ranker, args.output / "rankers" / name) for name, ranker in rankers.items()}
    for metric in ("recall@10", "ndcg@10"):
        for name, frame in values.items():
            it = interval(frame[metric].to_numpy())
            print(f"{metric:10} {name:9} {it.value:.4f} [{it.low:.4f}, {it.high:.4f}]  n={it.n}")
        for name in ("LightGCN", "Pop"):
            it = paired_difference(pd.Series(values["MICRO"][metric]), pd.Series(values[name][metric]))
            print(f"{metric:10} MICRO - {name:9} {it.value:+.4f} [{it.low:+.4f}, {it.high:+.4f}]")


def per_person(ranker: TrainedRanker, path: Path) -> pd.DataFrame:
    """Test metrics, a row a person; ranks and lists go to Parquet files whose names begin with ``path``."""

    def score(users: Tensor) -> Tensor:
        return full_scores(ranker.ranker, users)

    ranks = held_out_ranks(score, ranker.dataset)
    write_parquet(ranks, path.with_name(f"{path.name}-ranks.parquet"))
    write_parquet(top_lists(score, ranker.dataset), path.with_name(f"{path.name}-lists.parquet"))
    return per_user(ranks).pivot(index="user", columns="metric", values="value")


if __name__ == "__main__":
    led(main)
