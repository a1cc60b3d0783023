"""The command line: a command for each step of the pipeline. Errors that a user can cause are printed as sentences."""

from __future__ import annotations

import argparse
import contextlib
import logging
import math
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ragar_rec import __version__
from ragar_rec.config.presets import DEFAULT, preset_names

STEPS = {
    "prepare": "raw files -> RecBole's atomic files and a catalogue",
    "pretrain": "the generation backbone: codec, text encoder and UNet, learned from the catalogue",
    "train-ranker": "the multimodal ranker (MICRO) that says who would want what",
    "diagnose": "whether the ranker reads pictures, and what better ones could gain, before any generator or with it",
    "train-generator": "RAGAR with the ranker as reward, on the generation backbone",
    "augment": "a personalised picture for each (user, item) that the protocols ask for",
    "evaluate": "ranks before and after, per protocol and control: the table and results.json",
    "report": "one HTML page of everything above",
    "plant": "a gain of a known size in your own data: with what probability would this run have found it?",
    "recommend": "everybody's top-k list as CSV or Parquet, with the original and with personalised pictures",
    "store": "finished stages: which there are, how large they are, which of them this config uses",
    "demo": "all of it on MovieLens-100k with rendered covers: the place to begin",
}
_KEYS = """Any key of the config can be set with --key=value: RecBole's own (--epochs=50) and, dotted, those of the
sections catalog, pictures, features, backbone, models, language, words, generator, pmg, reflection, evaluation,
judges and diagnosis (--reflection.reward_steps=50); `ragar-rec config` prints them all."""
USER_ERRORS = (ValueError, LookupError, OSError, ImportError, RuntimeError, NotImplementedError)
"""Exceptions that our packages raise with a sentence for the user; any other is a bug and keeps its traceback."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as a shell has it: 128 + the number of SIGINT."""

CLOSED_PIPE = 141
"""Exit code when the reader of the output has gone, as a shell has it: 128 + the number of SIGPIPE."""


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; those that open an experiment share :data:`COMMON`."""
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
    _add_config_command(commands, formatter)
    for name, help_text in STEPS.items():
        command = commands.add_parser(
            name,
            help=help_text,
            description=f"{help_text[0].upper()}{help_text[1:]}.",
            epilog=_KEYS,
            formatter_class=formatter,
            allow_abbrev=False,
        )
        OPTIONS.get(name, lambda command: None)(command)
        _add_common_options(command)
    return command_line


def _add_config_command(commands: Any, formatter: Any) -> None:
    """Add ``config``, which opens no experiment and takes no keys."""
    help_text = "every key of the config with its default and its meaning; or a file to begin with"
    command = commands.add_parser(
        "config",
        help=help_text,
        description=f"{help_text[0].upper()}{help_text[1:]}.",
        epilog="examples:\n  ragar-rec config --search seed\n  ragar-rec config --init my.yaml",
        formatter_class=formatter,
        allow_abbrev=False,
    )
    command.add_argument("--search", metavar="WORD", help="only keys whose name or sentence contains this word")
    command.add_argument(
        "--init", type=Path, metavar="FILE", help="write a commented config for your own catalogue, in a new file"
    )
    command.add_argument("--debug", action="store_true", help="show where an error came from")


def _add_augment_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--requests",
        type=Path,
        metavar="FILE",
        help="a CSV file with user_id,item_id: draw these pictures instead, into OUTPUT/pictures",
    )
    command.add_argument(
        "--images",
        choices=("png", "jpeg", "webp"),
        help="also write every picture as a file, OUTPUT/pictures/<user>/<item>.png, listed in files.csv",
    )


def _add_recommend_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--users", type=Path, metavar="FILE", help="a CSV file with user_id (default: everybody)")
    command.add_argument(
        "--lists",
        type=Path,
        metavar="FILE",
        help="where the lists go, .csv or .parquet (default: OUTPUT/recommendations.csv)",
    )
    command.add_argument("--k", type=_count, metavar="N", help="items in a list (default: evaluation.k)")
    command.add_argument(
        "--original",
        action="store_true",
        help="lists with the original pictures alone, by any ranker: no generator is trained",
    )


def _add_store_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--prune", action="store_true", help="remove what this config does not use, without asking")
    command.add_argument("--dry-run", action="store_true", help="say what --prune would remove, and remove nothing")
    command.add_argument(
        "--keep",
        action="append",
        metavar="FILE",
        help="a further config, on the same data and weights, whose stages count as used; may be repeated",
    )


def _add_diagnose_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--generator",
        action="store_true",
        help="also what the generator can draw, what it learned, and what its codec costs; it is trained if need be",
    )


def _add_plant_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--sizes",
        type=_shares,
        metavar="LIST",
        help="gains as shares of NDCG@k with the original pictures, 0.02,0.05 (default: 0.01,0.02,0.05,0.1,0.2)",
    )


OPTIONS: Mapping[str, Callable[[argparse.ArgumentParser], None]] = {
    "augment": _add_augment_options,
    "diagnose": _add_diagnose_options,
    "plant": _add_plant_options,
    "recommend": _add_recommend_options,
    "store": _add_store_options,
}
"""Command -> what adds its own options. Each option is an argument of the pipeline's function of the same name."""

COMMON = ("command", "config", "data", "weights", "output", "debug")
"""Options of every command that opens an experiment."""


def _count(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def _shares(text: str) -> tuple[float, ...]:
    """Numbers above 0, between commas."""
    try:
        sizes = tuple(float(part) for part in text.split(","))
    except ValueError:
        sizes = (0.0,)
    if not all(0 < size < math.inf for size in sizes):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers above 0, such as 0.02,0.05")
    return sizes


def _add_common_options(command: argparse.ArgumentParser) -> None:
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
        _print_config(options, overrides) if options.command == "config" else _run(options, overrides)
        sys.stdout.flush()
    except KeyboardInterrupt:
        kept = f"; finished stages are kept in {options.output}, run the same command to continue"
        print(f"\nragar-rec: stopped{'' if options.command == 'config' else kept}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `ragar-rec config | head`: whoever read the output has enough of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still to be flushed goes nowhere
        return CLOSED_PIPE
    except USER_ERRORS as error:
        if options.debug:
            traceback.print_exc()
        print(f"ragar-rec: {sentence(error)}", file=sys.stderr)
        return 2
    return 0


def _print_config(options: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Print the reference of the config's keys, or write a file to begin with."""
    from ragar_rec.config.reference import reference, write_starting_file

    if overrides:
        raise ValueError(f"`config` shows keys and takes none: leave out {overrides[0]}")
    if options.init is None:
        print(reference(options.search))
        return
    write_starting_file(options.init)
    print(f"{options.init} is written; next: ragar-rec prepare --config {options.init} --data FOLDER")


def _run(options: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Call the function of the pipeline that is named like the command, on the first of the launcher's processes."""
    # Imported late: --help and errors in the arguments do without them.
    from ragar_rec import pipeline
    from ragar_rec.progress import lines_where_no_terminal

    with notes():
        run = pipeline.Run.open(options.config, list(overrides), options.data, options.weights, options.output)

    # Only now, as it takes seconds (torch): a mistake in the config is said before.
    from recsys.distributed import run_on_first_process

    def program() -> None:
        with notes(), lines_where_no_terminal():
            step = getattr(pipeline, options.command.replace("-", "_"))
            own = {name: value for name, value in vars(options).items() if name not in COMMON}
            step(run, **{name: value for name, value in own.items() if value not in (None, False)})

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
    """The message of an exception as a sentence, without the quotes that KeyError puts around its own.

    An exception out of a module of the user's own comes with its type, file and line.
    """
    if place := _own_code(error):
        return f"{place} raised {type(error).__name__}: {error}; --debug shows the whole trace"
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.strerror}: {error.filename}"
    if isinstance(error, KeyError) and len(error.args) == 1:
        return str(error.args[0])
    return str(error) or type(error).__name__


def _own_code(error: BaseException) -> str | None:
    """File and line that raised, if they belong neither to this library nor to an installed one."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return None
    file, home = Path(frames[-1].filename).resolve(), Path(__file__).resolve().parents[1]
    libraries = [home / name for name in ("ragar_rec", "recsys", "generation")]
    installed = [*map(Path, (sys.prefix, sys.base_prefix)), *libraries]
    if not file.is_file() or any(file.is_relative_to(folder) for folder in installed):
        return None
    return f"{file.name}, line {frames[-1].lineno},"


if __name__ == "__main__":
    sys.exit(main())
