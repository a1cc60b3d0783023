"""The command line: a command for each step of the pipeline. Errors that a user can cause are printed as sentences."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from ragar_rec import __version__
from ragar_rec.config.presets import DEFAULT, preset_names

STEPS = {
    "prepare": "raw files -> RecBole's atomic files and a catalogue",
    "pretrain": "the generation backbone: codec, text encoder and UNet, learned from the catalogue",
    "train-ranker": "the multimodal ranker (MICRO) that says who would want what",
    "diagnose": "whether the ranker reads pictures, and what better ones could gain, before any generator",
    "train-generator": "RAGAR with the ranker as reward, on the generation backbone",
    "augment": "a personalised picture for each (user, item) that the protocols ask for",
    "evaluate": "ranks before and after, per protocol and control: the table and results.json",
    "report": "one HTML page of everything above",
    "demo": "all of it on MovieLens-100k with rendered covers: the place to begin",
}
_KEYS = """Any key of the config can be set with --key=value: RecBole's own (--epochs=50) and, dotted, those of the
sections catalog, features, backbone, models, language, words, generator, reflection and evaluation
(--reflection.reward_steps=50)."""
USER_ERRORS = (ValueError, LookupError, OSError, ImportError, RuntimeError, NotImplementedError)
"""Exceptions that our packages raise with a sentence for the user; any other is a bug and keeps its traceback."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as a shell has it: 128 + the number of SIGINT."""


def parser() -> argparse.ArgumentParser:
    """The parser of all commands, which have the same options; ``augment`` has one more."""
    formatter = partial(argparse.RawDescriptionHelpFormatter, max_help_position=22, width=110)
    command_line = argparse.ArgumentParser(
        prog="ragar-rec",
        description="Personalised item pictures by retrieval and reflection, and whether they help a recommender.",
        epilog="Every command runs what it needs and is not there yet; what is finished is reused.\n\n"
        "examples:\n"
        "  ragar-rec demo\n"
        "  ragar-rec evaluate --config my.yaml --data data/ --output runs/mine --generator.k=3 --epochs=50",
        formatter_class=formatter,
        allow_abbrev=False,
    )
    command_line.add_argument("--version", action="version", version=f"ragar-rec {__version__}")
    commands = command_line.add_subparsers(dest="command", metavar="<command>", required=True, title="commands")
    for name, help_text in STEPS.items():
        command = commands.add_parser(
            name,
            help=help_text,
            description=f"{help_text[0].upper()}{help_text[1:]}.",
            epilog=_KEYS,
            formatter_class=formatter,
            allow_abbrev=False,
        )
        _add_options(command, requests=name == "augment")
    return command_line


def _add_options(command: argparse.ArgumentParser, *, requests: bool) -> None:
    """Add a command's options; ``requests`` says whether ``--requests`` is one of them."""
    command.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"a RecBole YAML file, or one of {', '.join(preset_names())} (default: {DEFAULT})",
    )
    command.add_argument("--data", type=Path, metavar="FOLDER", help="the raw data set (default: the embedded one)")
    command.add_argument(
        "--weights", type=Path, metavar="FOLDER", help="pretrained weights, where the config asks for any"
    )
    command.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        default=Path("output"),
        help="results and finished stages (default: output)",
    )
    if requests:
        command.add_argument(
            "--requests",
            type=Path,
            metavar="FILE",
            help="a CSV file with user_id,item_id: draw these pictures instead, into OUTPUT/pictures",
        )
    command.add_argument("--debug", action="store_true", help="show where an error came from")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 2 after an error, 130 after Ctrl-C."""
    command_line = parser()
    options, overrides = command_line.parse_known_args(arguments)
    for argument in overrides:
        if not (argument.startswith("--") and "=" in argument):
            command_line.error(f"unrecognised argument {argument!r}; a key of the config is set with --key=value")
    if not options.debug:  # deprecations inside the libraries, of which a user can mend none
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
    try:
        _run(options, overrides)
    except KeyboardInterrupt:
        advice = f"finished stages are kept in {options.output}, run the same command to continue"
        print(f"\nragar-rec: stopped; {advice}", file=sys.stderr)
        return INTERRUPTED
    except USER_ERRORS as error:
        if options.debug:
            traceback.print_exc()
        print(f"ragar-rec: {sentence(error)}", file=sys.stderr)
        return 2
    return 0


def _run(options: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Call the function of the pipeline that is named like the command, on the first of the launcher's processes."""
    # These imports take seconds (torch): --help and errors in the arguments do without them.
    from generation.backbone.loading import disable_progress_bars
    from ragar_rec import pipeline
    from recsys.recbole.training import run_on_first_process

    def program() -> None:
        with notes():
            run = pipeline.Run.open(options.config, list(overrides), options.data, options.weights, options.output)
            step = getattr(pipeline, options.command.replace("-", "_"))
            requests = getattr(options, "requests", None)  # an option of `augment` alone
            step(run, requests=requests) if requests else step(run)

    disable_progress_bars()
    run_on_first_process(program)


class _Notes(logging.Handler):
    """Writes each message once, to stderr and above the progress bars."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._written: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        if (message := record.getMessage()) not in self._written:
            self._written.add(message)
            tqdm.write(message, file=sys.stderr)


@contextlib.contextmanager
def notes() -> Iterator[None]:
    """Show what our packages log at INFO and above while the block runs; no other logger is changed."""
    handler = _Notes()
    levels = {logger: logger.level for logger in map(logging.getLogger, ("ragar_rec", "recsys", "generation"))}
    for logger in levels:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.removeHandler(handler)
            logger.setLevel(level)


def sentence(error: BaseException) -> str:
    """The message of an exception as a sentence, without the quotes that KeyError puts around its own."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.strerror}: {error.filename}"
    if isinstance(error, KeyError) and len(error.args) == 1:
        return str(error.args[0])
    return str(error) or type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
