"""The config as it was typed: a YAML file, ``--key=value`` arguments on top of it, and where each key came from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import yaml

from ragar_rec.errors import ConfigError


def read_tree(
    path: Path, overrides: Sequence[str], problems: list[str], *, sections: Sequence[str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Read the file, apply the overrides, and record where each key was typed.

    Args:
        path: the YAML file.
        overrides: ``--key=value`` or ``--section.key=value``; a value is read as YAML.
        problems: receives one sentence per problem that leaves the rest readable.
        sections: top-level keys whose inner keys are recorded one by one, as ``section.key``.

    Returns:
        The tree of plain values, and where each key (dotted in a section) was typed:
        ``in <file>`` or ``on the command line``.

    Raises:
        ConfigError: the file, or a value on the command line, is no YAML.
    """
    tree = _load(path.read_text(encoding="utf-8"), str(path))
    source: dict[str, str] = {}
    for key, value in list(tree.items()):
        if key not in sections:
            source[key] = f"in {path}"
            continue
        if value is not None and not isinstance(value, dict):
            problems.append(f"`{key}` in {path}: expected a section of `key: value` lines, got {value!r}")
        tree[key] = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
        source.update({f"{key}.{name}": f"in {path}" for name in tree[key]})
    for argument in overrides:
        key, equals, text = argument.removeprefix("--").partition("=")
        if not equals or not key:
            problems.append(f"`{argument}` on the command line: expected --key=value")
        elif key in sections:
            problems.append(f"`{argument}` on the command line: `{key}` is a section, write --{key}.<key>=<value>")
        else:
            _place(tree, key, _load(f"value: {text or repr('')}", f"`{argument}` on the command line")["value"])
            source[key] = "on the command line"
    return tree, source


def _place(tree: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key; mappings on its path are made if they are missing."""
    *parents, leaf = key.split(".")
    for parent in parents:
        inner: Any = tree.get(parent)
        tree[parent] = cast("dict[str, Any]", inner) if isinstance(inner, dict) else {}
        tree = tree[parent]
    tree[leaf] = value


class _Loader(yaml.SafeLoader):
    """A YAML loader that reads ``1e-5`` as a number, as RecBole does, and refuses a key that stands there twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node; PyYAML itself would take the last of several equal keys without a word."""
        keys: list[str] = [str(key.value) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                problem = f"the key `{key}` stands there twice"
                raise yaml.constructor.ConstructorError(problem=problem, problem_mark=node.start_mark)
        return cast("dict[Any, Any]", super().construct_mapping(node, deep=deep))


# YAML 1.1, which PyYAML follows, wants a dot and a signed exponent in a float: `1e-5` would be a text.
_Loader.add_implicit_resolver(  # pyright: ignore[reportUnknownMemberType]
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def _load(text: str, origin: str) -> dict[str, Any]:
    """Parse YAML that must be a mapping; ``origin`` names its place in error messages."""
    try:
        tree: Any = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        line = f", line {place.line + 1}" if place is not None else ""
        raise ConfigError([f"{origin}{line} is no YAML: {getattr(error, 'problem', error)}"]) from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError([f"{origin} holds no `key: value` lines"])
    return {str(key): value for key, value in cast("dict[Any, Any]", tree).items()}
