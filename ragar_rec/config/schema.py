"""Sections of the config as frozen dataclasses: the annotations of the fields are the schema for plain data.

A field is one line, ``k: Annotated[int, Range(1)] = 5``, with its docstring below. The type states what is allowed: a
``Literal`` lists the words, a ``Range`` bounds a number, ``tuple[int, ...]`` takes a YAML list, ``dict[str, float]`` a
mapping. A section may add ``conflicts()``, which yields a sentence for each pair of fields that cannot go together.
"""

from __future__ import annotations

import math
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, is_dataclass
from difflib import SequenceMatcher
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

Section = TypeVar("Section")


@dataclass(frozen=True)
class Range:
    """The closed interval of allowed numbers; ``above`` excludes its lower end, ``below`` its upper one."""

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False

    def __contains__(self, number: float) -> bool:
        excluded = (self.above and number == self.low) or (self.below and number == self.high)
        return self.low <= number <= self.high and not excluded

    def __str__(self) -> str:
        lower = f"above {self.low:g}" if self.above else f"at least {self.low:g}"
        upper = f"below {self.high:g}" if self.below else f"at most {self.high:g}"
        return " and ".join([lower] * (self.low > -math.inf) + [upper] * (self.high < math.inf))


Count = Annotated[int, Range(1)]
"""An integer from 1 on."""
Natural = Annotated[int, Range(0)]
"""An integer from 0 on."""

_NAMES = {
    Any: "anything",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "a text",
    type(None): "nothing",
}


def field_types(section: type) -> dict[str, Any]:
    """The fields of a section with their annotated types, in order, those of its base classes first."""
    return get_type_hints(section, include_extras=True)


def expectation(kind: Any) -> str:
    """Describe the values that a field accepts: ``an integer, at least 1``; ``one of minmax, none, zscore``."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        words = [] if inner[0] is str else [expectation(inner[0])]  # "a text, one of these" would say it twice
        return ", ".join([*words, *(str(bound) for bound in inner[1:])])
    if origin is Literal:
        words = [str(word).lower() if isinstance(word, bool) else str(word) for word in inner]  # as YAML writes them
        return ("one of " if len(words) > 1 else "") + ", ".join(words)
    if origin is tuple:
        return f"a list, each {expectation(inner[0])}"
    if origin is dict:
        return "a mapping" + ("" if inner[1] is Any else f", each {expectation(inner[1])}")
    if is_dataclass(kind):
        return f"a mapping with {', '.join(field_types(cast('type', kind)))}"
    if origin in (Union, types.UnionType):
        # "one of these, or a list of them": the words of what is in the list are not said twice.
        lists = {tuple: "a list of such", dict: "a mapping to such"}
        repeated = {
            option: lists[kind]
            for option in inner
            if (kind := get_origin(option)) in lists and get_args(option)[-1 if kind is dict else 0] in inner
        }
        return " or ".join(repeated.get(option) or expectation(option) for option in inner)
    return _NAMES[kind]


def conform(value: Any, kind: Any) -> Any:
    """Convert a value to what the field stores: a YAML list to a tuple, an integer to a float where one is declared.

    Raises:
        ValueError: the field does not accept the value.
    """
    fits, stored = _stored(value, kind)
    if not fits:
        raise ValueError(f"expected {expectation(kind)}, got {value!r}{_hint(value, kind)}")
    return stored


def accepts(kind: Any, value: Any) -> bool:
    """Whether a field of that type accepts the value."""
    return _stored(value, kind)[0]


def _hint(value: Any, kind: Any) -> str:
    """The end of a sentence on a value that is not accepted: what a bound of its type finds nearest; "" if nothing."""
    inner = get_args(kind)
    if get_origin(kind) is Annotated:
        hinting = [bound for bound in inner[1:] if hasattr(bound, "hint") and isinstance(value, str)]
        return "".join(bound.hint(value) for bound in hinting if value not in bound)
    if get_origin(kind) is tuple and isinstance(value, (list, tuple)):
        return "".join(_hint(element, inner[0]) for element in cast("list[Any]", value))
    return next((hint for option in inner if (hint := _hint(value, option))), "")


def _stored(value: Any, kind: Any) -> tuple[bool, Any]:
    """Whether a field of that type accepts the value, and what it stores."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        fits, value = _stored(value, inner[0])
        return fits and all(value in bound for bound in inner[1:]), value
    if origin is Literal:
        return any(value == word and type(value) is type(word) for word in inner), value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            return False, value
        pairs = [_stored(element, inner[0]) for element in cast("list[Any]", value)]
        return all(fits for fits, _ in pairs), tuple(stored for _, stored in pairs)
    if is_dataclass(kind):
        return _stored_mapping(value, cast("type[Any]", kind))
    if origin is dict:
        if not isinstance(value, dict):
            return False, value
        entries = {str(key): _stored(entry, inner[1]) for key, entry in cast("dict[Any, Any]", value).items()}
        return all(fits for fits, _ in entries.values()), {key: stored for key, (_, stored) in entries.items()}
    if origin in (Union, types.UnionType):
        return next((pair for option in inner if (pair := _stored(value, option))[0]), (False, value))
    if kind is Any:
        return True, value
    if isinstance(value, bool):  # before the numbers: to Python, True is an integer
        return kind is bool, value
    if kind is float and isinstance(value, (int, float)):
        return math.isfinite(value), float(value)
    return isinstance(value, kind), value


def _stored_mapping(value: Any, kind: type[Any]) -> tuple[bool, Any]:
    """As :func:`_stored`, for a mapping with the fields of a dataclass."""
    types_by_name = field_types(kind)
    if not isinstance(value, dict):
        return False, value
    entries = cast("dict[Any, Any]", value)
    if unknown := [name for name in entries if name not in types_by_name]:
        raise ValueError(
            f"unknown key `{unknown[0]}`: the nearest valid key is `{nearest_key(str(unknown[0]), types_by_name)}`"
        )
    stored: dict[str, Any] = {}
    for name, entry in entries.items():
        try:
            stored[name] = conform(entry, types_by_name[name])
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return True, kind(**stored)


def narrowed(section: type[Section], config: Section) -> Section:
    """Narrow a config to one of its base classes, so that a stage that declares the base depends on its fields only."""
    return section(**{name: getattr(config, name) for name in field_types(section)})


def nearest_key(name: str, valid: Iterable[str]) -> str:
    """The valid key that is most similar to the typed one, as a whole or by what follows the section's name."""

    def similarity(key: str) -> tuple[float, float]:
        whole = SequenceMatcher(None, name, key).ratio()
        # A right name in a wrong section should find its way, so the last part counts by itself too.
        last = SequenceMatcher(None, name.rpartition(".")[2], key.rpartition(".")[2]).ratio()
        return max(whole, last), whole

    return max(sorted(valid), key=similarity)


def build_section(
    section: type[Section], values: Mapping[str, Any], problems: list[str], *, path: str, source: Mapping[str, str]
) -> Section:
    """Build a section from plain data. What is wrong is appended to ``problems``, and the default takes its place.

    Args:
        section: a frozen dataclass, every field with a default.
        values: field name -> plain value, as YAML gives it; only names of fields.
        problems: receives one sentence per problem.
        path: the section's name, which precedes each key in a sentence.
        source: field name -> where its value was typed (``in <file>``, ``on the command line``).
    """
    types_by_name = field_types(section)
    valid: dict[str, Any] = {}
    for name, value in values.items():
        try:
            valid[name] = conform(value, types_by_name[name])
        except ValueError as error:
            problems.append(f"`{path}.{name}` {source[name]}: {error}")
    built = section(**valid)
    conflicts = getattr(built, "conflicts", None)
    if conflicts is not None:
        places = " and ".join(sorted(set(source.values()))) or "by default"
        problems.extend(f"`{path}` {places}: {sentence}" for sentence in conflicts())
    return built
