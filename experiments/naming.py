"""Whether somebody who sees a history and four pictures of one item can tell whose picture is which.

    python experiments/naming.py --config ml-100k --output output/demo

For people who were kept from the generator's training: their last training item, drawn for them and for three others
who do not know it, beside the pictures that were retrieved from their history. Writes `naming/sheet-1.png`, … into the
output folder, which can be shown to anybody, and `naming/key.csv`, which says which picture is the person's own. Prints
how often the nearest mean colour alone would name it. The sheets show the catalogue's own pictures, whose rights are
their owners'.

Stages that the output folder's store has are reused, the others are trained. Hardware: two CPU cores; minutes and
numbers: docs/results.md.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from ragar_rec.cli import sentence
from ragar_rec.provenance import provenance
from ragar_rec.studies.arguments import ExperimentSource, add_settings, script_parser, settings_of
from ragar_rec.studies.naming import NamingSettings, naming, naming_line

CONFIG = Path("ml-100k")


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, write and print; returns the exit code."""
    parser = script_parser(__doc__, config=CONFIG, data=None, weights=None, output=Path("output") / "demo")
    add_settings(parser, NamingSettings)
    options, overrides = parser.parse_known_args(arguments)
    try:
        run = ExperimentSource.of(options, overrides).open()
        results = naming(run, settings_of(options, NamingSettings))
    except (ValueError, LookupError, OSError) as error:
        print(f"naming: {sentence(error)}", file=sys.stderr)
        return 2
    results["run"] = provenance(run)
    (run.output / "naming" / "naming.json").write_text(json.dumps(results, indent=1))
    print(naming_line(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
