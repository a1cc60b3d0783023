"""What each objective and noise mode learns, and whether retrieval and reward beat a generator without them.

    python experiments/objectives.py --config movie-posters --data <folder> --weights <folder>

People are split into training, validation and test for the generator (`reflection.held_out`). Every setting below is
trained on the first; validation picks the one whose pictures score best there (`chosen`), and the test people are the
table: the score of a person's own picture (v_gen) less that of the reference's own (v_ref), of the one from E_g alone
(v_glob), of the generator before any reward (untrained) and of the picture made for somebody else (shuffled_user), in
standard deviations of the person's scores, with 95 % bootstrap intervals over people; and the shares of eq. 10's ranks
of v_gen among v_ref, v_glob and v_gen. Delta R under the protocol `reference` (privileged: the target is known) is
measured for the chosen setting and for a variant like PMG: the whole history with equal weights, no reward.

Writes <output>/objectives.json after every setting and <output>/objectives/<setting>.parquet. Stopped and started
again, it continues; with some of the settings (`--settings`) the rows of the others stay and are chosen among, if they
were measured under the same config and data. Hardware: two CPU cores; minutes and numbers: docs/results.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ragar_rec.studies.arguments import ExperimentSource, add_names, script_parser
from ragar_rec.studies.markdown import interval_text
from ragar_rec.studies.objectives import SETTINGS, ObjectivesStudy, settings_table

CONFIG = Path("movie-posters")


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, write and print the table."""
    parser = script_parser(__doc__, config=CONFIG, data=None, weights=None, output=Path("output") / "objectives")
    add_names(parser, "--settings", SETTINGS, noun="setting", separator=";")
    options, overrides = parser.parse_known_args(arguments)
    study = ObjectivesStudy(ExperimentSource.of(options, overrides))
    for name in options.settings:
        print(f"\n{settings_table({name: study.measure(name)})}", flush=True)
    comparison = study.compare_with_pmg()
    print(f"\n{settings_table(study.rows)}\n\nchosen on validation: {study.chosen}\n\nDelta R under reference:")
    for name, interval in comparison.items():
        print(f"  {name}: {interval_text(interval)}, {interval['n']} people")


if __name__ == "__main__":
    main()
