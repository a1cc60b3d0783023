"""A planted shop on real pictures in which the picture shown makes people click: what RAGAR truly gains there.

    python experiments/planted_shop.py --output output/planted
    python experiments/planted_shop.py --data my-shop --output output/planted-mine

Simulated people click on items by popularity, category, and the colours that they see in the items' pictures
(ragar_rec/evaluation/worlds/picture_shop.py): by default the covers of the embedded catalogue, or those of a folder
with `catalog.csv` and `interactions.csv`, whose interactions are not used. Their log is written as an ordinary data set
(<output>/seed-0/data), and the pipeline of --config runs on it as on any other: rankers, RAGAR and its reward training.
Keys of the config can be overridden as everywhere: --reflection.reward_steps=200.

The truth is the expected NDCG@10 over a person's next ten clicks if the list of the ranker that rewards is re-ranked
by, and shown with, the system's pictures. The oracle draws with the same generator the best pictures for the person's
true utility, by the exact gradient. Two verdicts stand beside it: the library's own, from the log, and that of a live
test, in which people are split into arms and click under what their arm shows. Intervals are over people.

Writes <output>/planted_shop.parquet (a row for each person, system and owner), planted_shop.json and, for each seed, an
output folder with the whole run. One seed takes six minutes of one core, and as many again for the verdict from the
log, which --without-log leaves out; numbers: docs/worlds.md.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ragar_rec import pipeline
from ragar_rec.evaluation.results import Results
from ragar_rec.evaluation.verdict import Verdict
from ragar_rec.report.terminal import format_verdicts
from ragar_rec.studies.arguments import ExperimentSource, script_parser
from ragar_rec.studies.planted_shop import BEST, PlantedShop, Size
from ragar_rec.studies.planted_shop_tables import gains_table, verdicts_table

CONFIG = Path("own")


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw, train and measure one shop after the other; what is finished is written and printed after each."""
    parser = script_parser(__doc__, config=CONFIG, data=None, weights=None, output=Path("output") / "planted")
    parser.add_argument("--seeds", type=int, default=1, help="shops, each with people and trainings of its own")
    parser.add_argument("--without-log", action="store_true", help="leave out the verdict from the log")
    for name, value in vars(Size()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value, help=f"default: {value}")
    options, overrides = parser.parse_known_args(arguments)
    if options.seeds < 1:
        parser.error(f"--seeds must be at least 1, not {options.seeds}")
    size = Size(**{name: getattr(options, name) for name in vars(Size())})
    frames: list[pd.DataFrame] = []
    verdicts: list[dict[str, Verdict]] = []
    for seed in range(options.seeds):
        study = PlantedShop(ExperimentSource.of(options, overrides), size, seed)
        frames.append(study.truth())
        verdicts.append({"live test": study.live_test()} | ({} if options.without_log else {"log": _from_log(study)}))
        frame = pd.concat(frames, ignore_index=True)
        frame.to_parquet(options.output / "planted_shop.parquet", index=False)
        written = [{name: verdict.as_dict() for name, verdict in found.items()} for found in verdicts]
        (options.output / "planted_shop.json").write_text(json.dumps(written, indent=1, ensure_ascii=False))
        print(f"\nThe ranker's scores follow true liking with a correlation of {study.known_taste().mean():.2f}.")
        for name, verdict in verdicts[-1].items():
            print(f"\n{name}\n{format_verdicts([verdict])}")
        print(f"\n{gains_table(frame, BEST)}\n\n{verdicts_table(verdicts)}", flush=True)


def _from_log(study: PlantedShop) -> Verdict:
    """The pipeline's own verdict on RAGAR; its tables go to a file."""
    with (study.run.output / "evaluate.txt").open("w") as file, contextlib.redirect_stdout(file):
        results = pipeline.evaluate(study.run)
    return next(verdict for verdict in Results.read(results).verdicts if verdict.system == "RAGAR")


if __name__ == "__main__":
    main()
