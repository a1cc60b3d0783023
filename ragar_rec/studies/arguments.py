"""Command lines of the scripts in experiments/: what they share, and the experiment that the arguments name."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from ragar_rec.experiment import Experiment

Settings = TypeVar("Settings", bound=Any)
"""A dataclass whose fields are options."""

PATHS = {
    "config": "a RecBole YAML file, or the name of a preset",
    "data": "folder of the raw data set, where the config needs one",
    "weights": "folder of pretrained weights, where the config needs any",
    "output": "folder of results and finished stages",
    "json": "file of the figures",
}
"""Options that take a path, with their help."""


def script_parser(description: str | None, **paths: Path | None) -> argparse.ArgumentParser:
    """A parser whose help is the script's docstring.

    Args:
        description: the docstring, shown as it is written.
        paths: the options of :data:`PATHS` that the script takes, with their defaults.
    """
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        # An abbreviated option could swallow a key of the config.
        allow_abbrev=False,
    )
    for name, default in paths.items():
        parser.add_argument(f"--{name}", type=Path, default=default, help=PATHS[name])
    return parser


def add_names(
    parser: argparse.ArgumentParser,
    option: str,
    allowed: Collection[str],
    *,
    noun: str,
    separator: str = ",",
    default: tuple[str, ...] | None = None,
    note: str = "",
) -> None:
    """Add an option that takes some of the allowed names, all of them by default.

    Args:
        parser: receives the option.
        option: as typed, ``--models``.
        allowed: the names, in the order in which an error lists them.
        noun: what a name stands for.
        separator: stands between two names.
        default: instead of all names.
        note: added to the help.
    """

    def names(text: str) -> tuple[str, ...]:
        chosen = tuple(text.split(separator))
        if unknown := set(chosen) - set(allowed):
            known = f"{separator} ".join(allowed)
            raise argparse.ArgumentTypeError(f"no {noun} is called {', '.join(sorted(unknown))}; there are {known}")
        return chosen

    text = f"some of {f'{separator} '.join(allowed)}{note}"
    # argparse formats help with %, and names may hold one.
    parser.add_argument(
        option, type=names, default=tuple(allowed) if default is None else default, help=text.replace("%", "%%")
    )


def add_settings(parser: argparse.ArgumentParser, settings: type[Settings]) -> None:
    """Add an option for each field of a dataclass: its name with hyphens or underscores, its default and its type."""
    for field in fields(settings):
        names = dict.fromkeys((f"--{field.name.replace('_', '-')}", f"--{field.name}"))
        shown = f"(default: {field.default})"
        parser.add_argument(*names, type=type(field.default), default=field.default, help=shown)


def settings_of(options: argparse.Namespace, settings: type[Settings]) -> Settings:
    """The dataclass, from what a parser with :func:`add_settings` returned."""
    return settings(**{field.name: getattr(options, field.name) for field in fields(settings)})


@dataclass(frozen=True)
class ExperimentSource:
    """What an experiment is opened from: the command line's paths and its overrides of config keys."""

    config: Path
    overrides: tuple[str, ...]
    data: Path | None
    weights: Path | None
    output: Path

    @classmethod
    def of(cls, options: argparse.Namespace, overrides: Sequence[str]) -> ExperimentSource:
        """From what a :func:`script_parser` with the four paths of an experiment returned."""
        return cls(options.config, tuple(overrides), options.data, options.weights, options.output)

    def varied(self, changes: Mapping[str, Any]) -> ExperimentSource:
        """The same with other values for some keys of the config, ``generator.k``."""
        return replace(self, overrides=(*self.overrides, *as_overrides(changes)))

    def open(self, section: str = "", changes: Mapping[str, Any] = MappingProxyType({})) -> Experiment:
        """The experiment, with other values for some keys of one section of its config."""
        # Not at the top: processes that only train a ranker must not hold what generation imports.
        from ragar_rec.experiment import Experiment

        more = as_overrides({f"{section}.{key}": value for key, value in changes.items()})
        return Experiment.open(self.config, [*self.overrides, *more], self.data, self.weights, self.output)


def as_overrides(changes: Mapping[str, Any]) -> list[str]:
    """Dotted keys and their values as they are typed on the command line."""
    return [f"--{key}={value}" for key, value in changes.items()]
