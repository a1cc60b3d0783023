"""RQ3: what each part of RAGAR is worth (the paper's ablations and Figure 5).

    python experiments/rq3.py --config movie-posters --data <folder> --weights <folder>
    python experiments/rq3.py --quick --output output/demo

Every variant changes one thing: no retrieval (the whole history with equal weights), no rank reward (`alpha 0`), k
retrieved items (0: none), r noisy samples, each weight of eq. 15, the noise, the objective, the form of eq. 9. Each is
trained on the people for training and measured on those kept from it (`reflection.held_out`), by their last training
item: the ranker's score of v_gen less that of the item's own picture, and less that of the picture made for a stranger,
in standard deviations of the person's scores; the dual encoder's cosine of v_gen with the item's caption, less the own
picture's; and the score less that of RAGAR's v_gen. 95 % bootstrap intervals are over people: one training each, so
that they know nothing of other seeds. `--candidates` adds NDCG@k where every candidate gets a new picture.

`--quick` measures few values on 40 people after 60 + 12 steps: it shows that everything runs, and no effect. With data,
backbone, language model and ranker in the output folder's store it takes six minutes of one core.

Writes <output>/rq3/rows.json and, for each variant, everybody's numbers (.parquet); for each panel a plot (.svg).
Stopped and started again, it continues; `--panels` takes some of the panels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ragar_rec.studies.ablation import PANELS, panels, write_plots
from ragar_rec.studies.arguments import ExperimentSource, add_names, as_overrides, script_parser
from ragar_rec.studies.variants import QUICK_KEYS, QUICK_PEOPLE, VariantStudy

CONFIG = Path("ml-100k")


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and measure what is missing, print the table, write the plots."""
    parser = script_parser(__doc__, config=CONFIG, data=None, weights=None, output=Path("output") / "rq3")
    add_names(parser, "--panels", PANELS, noun="panel")
    parser.add_argument("--quick", action="store_true", help="few values, people and steps")
    parser.add_argument("--candidates", action="store_true", help="also NDCG@k under the protocol `candidates`")
    options, overrides = parser.parse_known_args(arguments)
    # What was typed comes last, and wins.
    source = ExperimentSource.of(options, [*(as_overrides(QUICK_KEYS) if options.quick else []), *overrides])
    variants = panels(source.open().config, options.panels, quick=options.quick)
    every = {name: changes for panel in variants.values() for name, changes in panel.items()}
    people = QUICK_PEOPLE if options.quick else 0
    study = VariantStudy(source, "rq3", every, people=people, candidates=options.candidates)
    for name in every:
        study.measure(name)
        print(f"\n{study.table([name])}", flush=True)
    print(f"\n{study.table()}\n")
    for file in write_plots(study, variants):
        print(file)


if __name__ == "__main__":
    main()
