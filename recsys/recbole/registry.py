"""Ranker classes by name: this library's, RecBole's general recommenders, and `package.module:Class` of your own.

What can be said of a name without its class imports no RecBole, so that a config is read fast.
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Modules of this library's rankers, imported when asked for: they import this package themselves. Every other name is
# looked up among RecBole's general recommenders.
_MODULES = {
    "BM3": "recsys.rankers.bm3",
    "EASE": "recsys.rankers.ease",
    "FREEDOM": "recsys.rankers.freedom",
    "LATTICE": "recsys.rankers.lattice",
    "LightGCN": "recsys.rankers.lightgcn",
    "MICRO": "recsys.rankers.micro",
    "Pop": "recsys.rankers.pop",
    "VBPR": "recsys.rankers.vbpr",
}

PICTURE_READERS = ("MICRO", "LATTICE", "FREEDOM", "VBPR")
"""This library's rankers that score an item by its picture, so that a new picture changes the score."""


def ranker_class(name: str) -> type:
    """The ranker class of that name: this library's, else one of RecBole's general recommenders (BPR, ItemKNN, ...).

    `package.module:Class` is a general recommender from anywhere on the Python path, for example your own.

    Raises:
        ValueError: there is no such ranker; the nearest name is given.
    """
    check_name(name)
    module, colon, attribute = name.partition(":")
    if colon:
        return _imported(name, module, attribute)
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    from recsys.recbole.models import general_recommender

    return general_recommender(name)


def check_name(name: str) -> None:
    """Raise ValueError unless a ranker has that name; `package.module:Class` is not imported for it."""
    names = {*_MODULES, *_recbole_names()}
    if ":" not in name and name not in names:
        raise ValueError(f"there is no ranker {name!r}{did_you_mean(name, names)}")


def own_defaults(name: str) -> Mapping[str, Any]:
    """The ranker's attribute `DEFAULTS`: settings that RecBole lacks, or for which the ranker has other values."""
    if name in _MODULES:
        return importlib.import_module("recsys.rankers.defaults").DEFAULTS[name]
    return getattr(ranker_class(name), "DEFAULTS", {}) if ":" in name else {}


def is_own(name: str) -> bool:
    """Whether the name is that of a ranker of the user's own, `package.module:Class`."""
    return ":" in name


def is_of_library(name: str) -> bool:
    """Whether the ranker is one of this library's, not RecBole's or the user's."""
    return name in _MODULES


def reads_pictures(name: str) -> bool:
    """Whether the ranker has a frozen view in which an item's picture can be replaced (`Counterfactual`)."""
    return name in PICTURE_READERS or (":" in name and hasattr(ranker_class(name), "frozen"))


def code_of(name: str) -> Path | None:
    """The source file of a user's ranker (`package.module:Class`); None for other rankers or without a file.

    Its content is part of the identity of a trained ranker: edited code means another ranker.
    """
    module, colon, _ = name.partition(":")
    file = getattr(importlib.import_module(module), "__file__", None) if colon else None
    return None if file is None else Path(file)


def recbole_folder() -> Path:
    """The folder of the installed RecBole, found without importing it: the import takes seconds.

    Raises:
        FileNotFoundError: RecBole is not installed.
    """
    spec = find_spec("recbole")
    locations = list(spec.submodule_search_locations or ()) if spec else []
    if not locations:
        raise FileNotFoundError("recbole is not installed: pip install recbole==1.2.1")
    return Path(locations[0])


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """The end of an error message that suggests the closest of the valid names; "" if there are none."""
    by_lower = {name.lower(): name for name in sorted(names)}
    # cutoff=0: even a distant name shows what kind of name is expected.
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0)
    return f"; did you mean {by_lower[close[0]]!r}?" if close else ""


def _recbole_names() -> list[str]:
    """Names of RecBole's general recommenders: its room imports each from a module of its own."""
    room = recbole_folder() / "model" / "general_recommender" / "__init__.py"
    return re.findall(r"^from \S+ import (\w+)", room.read_text(encoding="utf-8"), flags=re.MULTILINE)


def _imported(name: str, module: str, attribute: str) -> type:
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise ValueError(f"the ranker {name!r} cannot be imported ({error}): put its folder on PYTHONPATH") from error
    except AttributeError as error:
        raise ValueError(f"the ranker {name!r} is not there: {error}") from error
