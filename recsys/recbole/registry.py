"""Rankers by name: ours, RecBole's general recommenders, and `package.module:Class` of your own."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from pathlib import Path

from recsys.recbole.isolation import isolated

with isolated():
    import recbole.config.configurator
    import recbole.data
    import recbole.data.dataset
    import recbole.data.interaction
    import recbole.model.abstract_recommender
    import recbole.model.general_recommender
    import recbole.trainer.trainer
    import recbole.utils
    import recbole.utils.argument_list
from recsys.recbole.models import GeneralRecommender

# Our rankers by name; every other name is looked up among RecBole's general recommenders.
_OURS = {
    "BM3": "recsys.rankers.bm3",
    "FREEDOM": "recsys.rankers.freedom",
    "LATTICE": "recsys.rankers.lattice",
    "LightGCN": "recsys.rankers.lightgcn",
    "MICRO": "recsys.rankers.micro",
    "Pop": "recsys.rankers.pop",
    "VBPR": "recsys.rankers.vbpr",
}


def ranker_class(name: str) -> type:
    """The ranker of that name: ours, otherwise RecBole's general recommenders (BPR, Pop, ItemKNN, ...).

    `package.module:Class` is a general recommender from anywhere, for example your own.

    Raises:
        ValueError: there is no such ranker; the nearest name is given.
    """
    module, colon, attribute = name.partition(":")
    if colon:
        return getattr(importlib.import_module(module), attribute)
    if name in _OURS:
        return getattr(importlib.import_module(_OURS[name]), name)
    found = getattr(recbole.model.general_recommender, name, None)
    if isinstance(found, type) and issubclass(found, GeneralRecommender):
        return found
    models = vars(recbole.model.general_recommender)
    names = {key for key, value in models.items() if isinstance(value, type)} | set(_OURS)
    raise ValueError(f"there is no ranker {name!r}{_nearest(name, names)}")


def code_of(name: str) -> Path | None:
    """The file of a ranker of one's own (`package.module:Class`), if it has one: another text makes another ranker."""
    module, own, _ = name.partition(":")
    file = getattr(importlib.import_module(module), "__file__", None) if own else None
    return None if file is None else Path(file)


def _nearest(word: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, sorted(names), n=1, cutoff=0)
    return f"; did you mean {close[0]!r}?" if close else ""
