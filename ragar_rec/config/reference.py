"""The reference of the config: every key with its default, the values that it accepts, and what it does.

Sections document themselves: a key is a field of a dataclass, its sentence the docstring below the field.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from ragar_rec.config.config import sections
from ragar_rec.config.presets import find_config
from ragar_rec.config.recbole_keys import ACCEPTS, RECBOLE_KEYS
from ragar_rec.config.recbole_values import RANKER_VALUES, RECBOLE_VALUES
from ragar_rec.config.schema import expectation, field_types

WIDTH = 100
"""Columns of the printed text."""

SPELLED_OUT = ("catalog", "features")
"""Sections of which :func:`starting_file` shows every key; of the others, those that the preset `own` sets."""


@dataclass(frozen=True)
class Key:
    """One key of the config.

    Attributes:
        name: as it is typed on the command line, `generator.k`.
        default: as YAML.
        accepts: the type and range of its values, in words.
        sentence: what it does.
    """

    name: str
    default: str
    accepts: str
    sentence: str

    def matches(self, word: str) -> bool:
        """Whether the word, in any case of letters, is part of the name, the sentence or the accepted values."""
        return word.casefold() in f"{self.name} {self.accepts} {self.sentence}".casefold()

    def text(self) -> str:
        """The key as the command prints it."""
        first = f"  {self.name}: {self.default}"
        body = f"{self.sentence} ({self.accepts})"
        return "\n".join([first, *textwrap.wrap(body, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)])


def section_keys(section: str) -> list[Key]:
    """The keys of one of our sections, in the order of its fields."""
    kind = sections()[section]
    defaults, sentences = kind(), field_sentences(kind)
    return [
        Key(f"{section}.{name}", _yaml(getattr(defaults, name)), expectation(accepted), sentences.get(name, ""))
        for name, accepted in field_types(kind).items()
    ]


def recbole_keys() -> list[Key]:
    """RecBole's keys that this library's presets and pages speak of; RecBole has more, all of which are accepted."""
    kinds = {**RANKER_VALUES, **RECBOLE_VALUES}
    return [
        Key(name, default, ACCEPTS.get(name) or expectation(kinds[name]), sentence)
        for name, (default, sentence) in RECBOLE_KEYS.items()
    ]


def reference(word: str | None = None) -> str:
    """Every key, grouped by section; with a word, those that :meth:`Key.matches` it.

    Raises:
        ValueError: no key matches the word.
    """
    groups = {"RecBole's keys, at the top level of the file": recbole_keys()}
    groups |= {f"{name}: {_plain_text(_summary(kind))}": section_keys(name) for name, kind in sections().items()}
    blocks: list[str] = []
    for title, keys in groups.items():
        chosen = [key for key in keys if word is None or key.matches(word)]
        if chosen:
            blocks.append("\n".join([*textwrap.wrap(title, WIDTH), *(key.text() for key in chosen)]))
    if not blocks:
        raise ValueError(f"no key, and no sentence on one, contains {word!r}; `ragar-rec config` lists all")
    return "\n\n".join(blocks)


def field_sentences(kind: type) -> dict[str, str]:
    """The docstring below each field of a dataclass, those of its base classes included, in one line."""
    sentences: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if not is_dataclass(base):
            continue
        body: Any = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        for field, below in zip(body.body, body.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                text = (
                    below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else ""
                )
                sentences[field.target.id] = _plain_text(str(text))
    return sentences


def write_starting_file(path: Path) -> None:
    """Write a commented config for one's own catalogue.

    Raises:
        FileExistsError: something stands there already.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(starting_file(path))
    except FileExistsError as error:
        raise FileExistsError(f"{path} exists and is left as it is: name another file behind --init") from error


def starting_file(path: Path) -> str:
    """The preset `own` with a comment above every key, and the other keys of :data:`SPELLED_OUT` commented out.

    Args:
        path: where it will stand, for the command in its first lines.
    """
    tree: dict[str, Any] = yaml.safe_load(find_config("own").read_text(encoding="utf-8"))
    own = sections()
    lines = [
        "# The config of your own catalogue: interactions.csv and catalog.csv in one folder.",
        f"#   ragar-rec demo --config {path} --data FOLDER --output runs/mine",
        "# Take away a # that stands right before a key to change it from its default. `ragar-rec config` lists every",
        "# key, `ragar-rec config --search WORD` finds one.",
    ]
    lines += _entries([key for key in recbole_keys() if key.name in tree], tree, indent="")
    missing = {name: value for name, value in tree.items() if name not in own and name not in RECBOLE_KEYS}
    lines += ["", yaml.safe_dump(missing, sort_keys=False).rstrip()] if missing else []
    for section in own:
        values = tree.get(section, {})
        keys = [(key, key.name.partition(".")[2]) for key in section_keys(section)]
        shown = [key for key, name in keys if section in SPELLED_OUT or name in values]
        if shown:
            lines += ["", f"# {_plain_text(_summary(own[section]))}", f"{section}:"]
            lines += _entries(shown, {f"{section}.{name}": value for name, value in values.items()}, indent="  ")
    return "\n".join(lines) + "\n"


def _entries(keys: Iterable[Key], values: dict[str, Any], *, indent: str) -> Iterator[str]:
    """Lines of YAML: each key below its sentence, commented out where it has no value."""
    for key in keys:
        prefix = f"{indent}# "
        if not indent:
            yield ""
        body = f"{key.sentence} ({key.accepts})"
        yield from textwrap.wrap(body, WIDTH, initial_indent=prefix, subsequent_indent=prefix)
        name = key.name.rpartition(".")[2]
        if key.name in values:
            yield f"{indent}{name}: {_yaml(values[key.name])}"
        else:
            yield f"{indent}#{name}: {key.default}"


def _yaml(value: Any) -> str:
    """A value as YAML in one line."""
    plain = list(value) if isinstance(value, tuple) else value
    return (
        yaml.safe_dump(plain, default_flow_style=True, width=10_000, sort_keys=False)
        .strip()
        .removesuffix("...")
        .strip()
    )


def _summary(kind: type) -> str:
    return (inspect.getdoc(kind) or "").partition("\n\n")[0]


def _plain_text(docstring: str) -> str:
    """A docstring in one line without reStructuredText's marks."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"\1", docstring)
    return " ".join(text.replace("``", "").split())
