"""What the backbone alone makes of a catalogue's pictures, before anything is trained.

    python experiments/edits.py --config own --data <folder> --output runs/shop

Draws pictures of the catalogue under their own captions and features, and under those of another picture: how much of
a picture is given back (PSNR), and how far its mean colour moves to the other's (1 is all the way; 0: conditions move
nothing). Writes `edits.json` into the output folder. Hardware: two CPU cores, a minute; numbers: docs/ragar.md.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from ragar_rec.cli import sentence
from ragar_rec.provenance import provenance
from ragar_rec.studies.arguments import ExperimentSource, add_settings, script_parser, settings_of
from ragar_rec.studies.edits import EditSettings, edits, edits_line

CONFIG = Path("ml-100k")


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, write and print; returns the exit code."""
    parser = script_parser(__doc__, config=CONFIG, data=None, weights=None, output=Path("output") / "demo")
    add_settings(parser, EditSettings)
    options, overrides = parser.parse_known_args(arguments)
    try:
        run = ExperimentSource.of(options, overrides).open()
        results = edits(run, settings_of(options, EditSettings))
    except (ValueError, LookupError, OSError) as error:
        print(f"edits: {sentence(error)}", file=sys.stderr)
        return 2
    results["run"] = provenance(run)
    (run.output / "edits.json").write_text(json.dumps(results, indent=1))
    print(edits_line(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
