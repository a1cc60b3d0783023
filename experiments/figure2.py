"""Which items of a history matter: the most similar, those ranked behind them, or random ones (the paper's Figure 2).

    python experiments/figure2.py --config movie-posters --data <folder> --weights <folder>
    python experiments/figure2.py --quick --output output/demo

`generator.history` says how the k items are chosen: `top_k` (Ret), `next_k`, those of ranks k + 1 to 2k (Exp-Ret), or
`random`. Two tables: what the ranker would give for P_ret itself in place of the last training item's features (eq. 5,
nothing is trained); and, for a generator that was trained with each choice, its scores and relevance on people kept
from training, as `experiments/rq3.py` says. A gain that every choice has, a stranger's too, is no preference: so each
stands beside that over a stranger's.

Intervals are over people; one training each. `--quick` trains 60 + 12 steps and measures 40 people: it shows that
everything runs. Writes <output>/figure2/. Stopped and started again, it continues.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from generation.ragar.config import HistoryMode
from ragar_rec.provenance import provenance
from ragar_rec.studies.arguments import ExperimentSource, as_overrides, script_parser
from ragar_rec.studies.retrieval import retrieval_gains, retrieval_table
from ragar_rec.studies.variants import QUICK_KEYS, QUICK_PEOPLE, VariantStudy
from recsys.recbole import checkpoint

CONFIG = Path("ml-100k")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure retrieval, train and measure what is missing, print both tables."""
    parser = script_parser(__doc__, config=CONFIG, data=None, weights=None, output=Path("output") / "figure2")
    parser.add_argument("--quick", action="store_true", help="few people and steps")
    options, overrides = parser.parse_known_args(arguments)
    # What was typed comes last, and wins.
    source = ExperimentSource.of(options, [*(as_overrides(QUICK_KEYS) if options.quick else []), *overrides])
    modes = get_args(HistoryMode)
    study = VariantStudy(
        source,
        "figure2",
        {mode: {"generator.history": mode} for mode in modes},
        people=QUICK_PEOPLE if options.quick else 0,
    )
    run = source.open()
    retrieved = retrieval_gains(run, {mode: {"history": mode} for mode in modes})
    study.folder.mkdir(parents=True, exist_ok=True)
    checkpoint.write_json(study.folder / "retrieval.json", {"run": provenance(run), "settings": retrieved})
    print(f"P_ret itself\n\n{retrieval_table(retrieved)}\n")
    for mode in modes:
        study.measure(mode)
    print(f"Pictures of a generator trained so\n\n{study.table()}")


if __name__ == "__main__":
    main()
