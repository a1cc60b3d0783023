"""Simple rankers beside which another must look good: which of them a catalogue allows, and one of them as a stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ragar_rec.stages.ranker import Ranker
from recsys.recbole.keys import with_ranker

BASELINES = ("Pop", "ItemKNN", "EASE")
"""Popularity, neighbours, a closed form."""

OTHERS = (
    "learning_rate",
    "reg_weight",
    "train_batch_size",
    "epochs",
    "eval_step",
    "stopping_step",
    "seed",
    "train_neg_sample_args",
)
"""RecBole's keys that are the other ranker's own: baselines take no steps, and EASE's penalty is another one."""

EASE_ITEMS = 10_000
"""Items up to which EASE is a baseline, as an items x items matrix is inverted: a minute or two of one core."""

KNN_SCORES = 10_000_000
"""Users x items up to which ItemKNN is a baseline: RecBole keeps all its scores in a Python list of lists."""


@dataclass(frozen=True, eq=False)
class BaselineRanker(Ranker):
    """A simple ranker that another is compared with; it reads interactions alone."""

    name: ClassVar[str] = "baseline"

    @property
    def recbole(self) -> dict[str, Any]:
        """Without features, so that none of them is made or read for it."""
        return {**self.settings, "data_path": str(self.catalogue.folder)}

    @property
    def key(self) -> dict[str, Any]:
        """Without the features."""
        return {name: value for name, value in super().key.items() if name != "features"}


def baseline_names(settings: Mapping[str, Any], n_users: int, n_items: int) -> list[str]:
    """The baselines that train in seconds or a minute; none for a split in which clicks say nothing of items (`COLD`).

    Args:
        settings: RecBole's keys of the ranker that is compared.
        n_users: of the catalogue.
        n_items: of the catalogue.
    """
    if "COLD" in (settings.get("eval_args") or {}).get("split", {}):
        return []
    fits = {"EASE": n_items <= EASE_ITEMS, "ItemKNN": n_users * n_items <= KNN_SCORES}
    return [name for name in BASELINES if fits.get(name, True) and name != settings["model"]]


def baseline_settings(settings: Mapping[str, Any], model: str) -> dict[str, Any]:
    """RecBole's keys of a baseline: of those of the ranker that is compared, what is read and how it is split."""
    return with_ranker({key: value for key, value in settings.items() if key not in OTHERS}, model)
