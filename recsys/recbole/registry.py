"""Ranker classes by name: this library's, RecBole's general recommenders, and `package.module:Class` of your own."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from pathlib import Path

from recsys.recbole.isolation import isolated

with isolated():
    import recbole.model.general_recommender

from recsys.recbole.models import GeneralRecommender

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


def ranker_class(name: str) -> type:
    """The ranker class of that name: this library's, else one of RecBole's general recommenders (BPR, ItemKNN, ...).

    `package.module:Class` is a general recommender from anywhere on the Python path, for example your own.

    Raises:
        ValueError: there is no such ranker; the nearest name is given.
    """
    module, colon, attribute = name.partition(":")
    if colon:
        return getattr(importlib.import_module(module), attribute)
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    candidate = getattr(recbole.model.general_recommender, name, None)
    if isinstance(candidate, type) and issubclass(candidate, GeneralRecommender):
        return candidate
    models = vars(recbole.model.general_recommender)
    names = {key for key, value in models.items() if isinstance(value, type)} | set(_MODULES)
    raise ValueError(f"there is no ranker {name!r}{did_you_mean(name, names)}")


def code_of(name: str) -> Path | None:
    """The source file of a user's ranker (`package.module:Class`); None for other rankers or without a file.

    Its content is part of the identity of a trained ranker: edited code means another ranker.
    """
    module, colon, _ = name.partition(":")
    file = getattr(importlib.import_module(module), "__file__", None) if colon else None
    return None if file is None else Path(file)


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """The end of an error message that suggests the closest of the valid names; "" if there are none."""
    # cutoff=0: even a distant name shows what kind of name is expected.
    close = difflib.get_close_matches(word, sorted(names), n=1, cutoff=0)
    return f"; did you mean {close[0]!r}?" if close else ""
