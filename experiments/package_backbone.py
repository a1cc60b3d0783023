"""Make the small models again that come with this library: generation/backbone/package.

    python experiments/package_backbone.py --stickers FOLDER --output generation/backbone/package

Pictures: 6,000 covers rendered of films that do not exist, the Noto Emoji (Apache-2.0) on white and on a coloured
ground, 5,000 procedural pictures. The folder of --stickers holds labels.csv (path, style, name, group, subgroup) and
the pictures that it names. About two hours of one core; what is stopped goes on. The model card beside the models says
what they were made with and what they can do.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ragar_rec.studies.arguments import add_settings, settings_of
from ragar_rec.studies.package_backbone import PackageSettings, make_package


def main(arguments: Sequence[str] | None = None) -> None:
    """Train both models and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stickers", type=Path, required=True, metavar="FOLDER", help="labels.csv and its pictures")
    parser.add_argument("--output", type=Path, default=Path("output") / "package", metavar="FOLDER")
    add_settings(parser, PackageSettings)
    args = parser.parse_args(arguments)
    folder = make_package(args.stickers, args.output, settings_of(args, PackageSettings))
    print(f"written: {folder}; backbone.start takes it")


if __name__ == "__main__":
    main()
