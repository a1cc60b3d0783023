"""What each way of retrieving would be worth to the ranker, before any picture is generated (eq. 3-5).

    python experiments/retrieval.py --config movie-posters --data <folder> --weights <folder>

Each person's last training item is the reference. Its image features are replaced by P_ret, the weighted mean of the
*ranker's* features of what is retrieved from the history before it: the mean of the pictures that a perfect generator
would be shown. The table gives that score less the one of the reference's own picture, and less the one of the P_ret
of a stranger's history (what is personal), in standard deviations of the person's scores, with 95 % bootstrap intervals
over people; and the mean of the largest weight (1/k is flat). People for whom, or for whose stranger, nothing with a
picture is retrieved are left out of a row, which then says how many it is about. Nothing is trained here, so all people
but those of `people.test` (`reflection.held_out`) are the ones to choose by; the test people stand beside them.

Writes <output>/retrieval.json. Backbone and ranker that the output folder's store has are reused, others are trained.
Hardware: two CPU cores; minutes and numbers: docs/results.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ragar_rec.provenance import provenance
from ragar_rec.studies.arguments import ExperimentSource, script_parser
from ragar_rec.studies.retrieval import retrieval_gains, retrieval_table
from recsys.recbole import checkpoint

CONFIG = Path("movie-posters")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write and print the table."""
    parser = script_parser(__doc__, config=CONFIG, data=None, weights=None, output=Path("output") / "objectives")
    run = ExperimentSource.of(*parser.parse_known_args(arguments)).open()
    rows = retrieval_gains(run)
    checkpoint.write_json(run.output / "retrieval.json", {"run": provenance(run), "settings": rows})
    print(retrieval_table(rows))


if __name__ == "__main__":
    main()
