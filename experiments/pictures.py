"""What the pictures are like: copies of training pictures, Fréchet distances, and sheets to look at.

    python experiments/pictures.py --config movie-posters --data <folder> --weights <folder> \
        --output <folder>

The config keeps a share of the pictures from the backbone (`backbone.held_out`), by which it is judged.

Hardware: two CPU cores. Minutes and expected numbers: docs/results.md. Stages that the output folder's store has are
reused, the others are trained. Writes `pictures/pictures.json` and `pictures/*.png` there; the sheets show the
catalogue's own pictures, whose rights are their owners'.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from ragar_rec.cli import sentence
from ragar_rec.provenance import provenance
from ragar_rec.studies.arguments import ExperimentSource, add_settings, script_parser, settings_of
from ragar_rec.studies.fidelity import FidelitySettings, fidelity_table, picture_fidelity

CONFIG = Path("ml-100k-long")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and look; returns the exit code."""
    parser = script_parser(__doc__, config=CONFIG, data=None, weights=None, output=Path("output") / "rq4")
    add_settings(parser, FidelitySettings)
    options, overrides = parser.parse_known_args(arguments)
    try:
        run = ExperimentSource.of(options, overrides).open()
        results = picture_fidelity(run, settings_of(options, FidelitySettings))
    except (ValueError, LookupError, OSError) as error:
        print(f"pictures: {sentence(error)}", file=sys.stderr)
        return 2
    results["arguments"] = {name: str(value) for name, value in vars(options).items()}
    results["run"] = provenance(run)
    (run.output / "pictures" / "pictures.json").write_text(json.dumps(results, indent=1))
    print("\n" + fidelity_table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
