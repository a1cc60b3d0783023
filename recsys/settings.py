"""Checks of settings; the error message names the key, its value and the allowed values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def check_choice(config: Any, key: str, allowed: Sequence[str]) -> None:
    """Raise ValueError unless `config[key]` is one of the allowed values."""
    if config[key] not in allowed:
        raise ValueError(f"{key} is {config[key]!r}, but must be one of {', '.join(allowed)}")


def check_whole(config: Any, key: str, *, least: int, word: str | None = None) -> None:
    """Raise ValueError unless `config[key]` is an integer of at least `least`, or equals `word` if that is not None."""
    value = config[key]
    if word is not None and value == word:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        other = "" if word is None else f" or {word!r}"
        raise ValueError(f"{key} is {value!r}, but must be a whole number from {least} on{other}")


def check_between(config: Any, key: str, low: float, high: float = float("inf"), *, open_end: bool = False) -> None:
    """Raise ValueError unless `config[key]` is a number in [low, high], or in [low, high) with `open_end`."""
    value = config[key]
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)  # bool is a subclass of int
    if not is_number or not low <= value <= high or (open_end and value == high):
        end = ")" if open_end or high == float("inf") else "]"
        raise ValueError(f"{key} is {value!r}, but must lie in [{low}, {high}{end}")


def check_positive(config: Any, key: str) -> None:
    """Raise ValueError unless `config[key]` is a finite number above 0."""
    value = config[key]
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < float("inf"):
        raise ValueError(f"{key} is {value!r}, but must be a number above 0")
