"""The retrieval study: what each way of retrieving is worth to the ranker before any picture is generated (eq. 3-5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from generation.ragar.ragar import Ragar
from generation.ragar.retrieval import aggregate
from generation.request import Request
from ragar_rec.evaluation.controls import ShuffledUserSampler
from ragar_rec.evaluation.frames import shuffled_user_requests
from ragar_rec.evaluation.people import training_requests
from ragar_rec.experiment import Experiment
from ragar_rec.studies.markdown import interval_text, markdown_table
from recsys.features import FeatureTable
from recsys.scoring.statistics import interval

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "none": {"normalization": "none"},
    "minmax": {"normalization": "minmax"},
    "zscore": {"normalization": "zscore"},
    "minmax, temperature .5": {"normalization": "minmax", "temperature": 0.5},
    "minmax, temperature .25": {"normalization": "minmax", "temperature": 0.25},
    "minmax, next_k": {"normalization": "minmax", "history": "next_k"},
    "minmax, random": {"normalization": "minmax", "history": "random"},
    "whole history, equal weights": {"k": 20, "history_length": 20, "temperature": 1e6},
}
"""Keys of the section `generator` that a setting changes; all retrieve by likeness alone."""
BY_TASTE: Mapping[str, Mapping[str, Any]] = {
    "minmax, half by taste": {"normalization": "minmax", "retrieval_taste": 0.5},
    "minmax, by taste": {"normalization": "minmax", "retrieval_taste": 1.0},
}
"""Further settings where the generator asks for the ranker's taste."""


def retrieval_gains(
    run: Experiment, settings: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, dict[str, dict[str, Any]]]:
    """Gains of every setting, by the people to choose a setting by (``choosing``) and by the test people.

    Nothing is trained, so that the people whom the generator would be trained on may choose as well.

    Args:
        run: whose ranker that rewards scores.
        settings: by name, the keys of the section `generator` that each changes; by default :data:`SETTINGS`, and
            :data:`BY_TASTE` where the config asks for a taste.
    """
    asks = run.config.generator.asks_taste
    if settings is None:
        settings = {**SETTINGS, **BY_TASTE} if asks else SETTINGS
    people = {"choosing": [*run.ragar.people.train, *run.ragar.people.valid], "test": run.ragar.people.test}
    groups = {name: ReferenceScores(run, users) for name, users in people.items()}
    ragar, rows = run.components.new_generator(run.config.generator), {}
    ragar.taste = run.ragar.taste if asks else None
    for name, changes in settings.items():
        ragar.config = replace(run.config.generator, **{"retrieval_taste": 0.0, **changes})
        rows[name] = {group: scores.row(ragar) for group, scores in groups.items()}
    return rows


class ReferenceScores:
    """The ranker's scores of some users' references under other image features.

    Args:
        run: whose ranker that rewards scores.
        users: internal ids.

    Attributes:
        own: a request per user: the last training item as the reference, with the history before it.
        others: requests of strangers for the same references.
        features: image features of every item in the catalogue's order, zeros where ``present`` is false.
        reference: scores of the references under their own features.
    """

    def __init__(self, run: Experiment, users: Sequence[int]) -> None:
        seed = run.config.evaluation.seeds[0]
        self.view, dataset = run.reward_ranker.view, run.reward_ranker.dataset
        self.own = training_requests(dataset, users, run.pictures.pictured, seed)
        self.others = shuffled_user_requests(self.own, dataset, ShuffledUserSampler(dataset, seed, users), seed)
        self.users = torch.tensor([dataset.user_id(request.user) for request in self.own])
        self.items = torch.tensor([dataset.item_id(request.reference) for request in self.own])
        table = FeatureTable.read(run.reward_ranker.features.file("image"))
        values, present = table.align([item.id for item in run.pictures.items])
        self.features, self.present = torch.from_numpy(values), torch.from_numpy(present)
        references = run.components.gallery.rows([request.reference for request in self.own])
        self.reference = self.scores(self.features[references])

    def scores(self, features: Tensor, some: Tensor | slice = slice(None)) -> np.ndarray:
        """Scores of (some of) the references under these features, in standard deviations of their user's scores."""
        users = self.users[some]
        with torch.no_grad():
            return (self.view.substitute(users, self.items[some], features) / self.view.spread(users)).numpy()

    def retrieved(self, ragar: Ragar, requests: Sequence[Request]) -> tuple[Tensor, Tensor]:
        """P_ret in the ranker's features, and the weights."""
        rows, weights, _ = ragar.retrieve(requests)
        return aggregate(weights, self.features[rows], self.present[rows]), weights

    def row(self, ragar: Ragar) -> dict[str, Any]:
        """Means, with intervals, over the users for whom something is retrieved; nothing where there is nobody.

        Users for whom, or for whose stranger, no item with a picture is retrieved are left out of the gains.
        """
        features, weights = self.retrieved(ragar, self.own)
        others, _ = self.retrieved(ragar, self.others)
        # P_ret is zero where nothing is retrieved.
        some = features.any(1) & others.any(1)
        if not some.any():
            return {}
        scores = self.scores(features[some], some)
        return {
            "own picture": asdict(interval(scores - self.reference[some.numpy()])),
            "stranger": asdict(interval(scores - self.scores(others[some], some))),
            "largest weight": weights[some].amax(1).mean().item(),
            "people": len(some),
        }


def retrieval_table(rows: Mapping[str, Any]) -> str:
    """A line per setting: people to choose by, then the test's."""
    gains = ("P_ret − own picture", "P_ret − a stranger's")
    titles = ("setting", "largest weight", *gains, *(f"{gain}, test" for gain in gains))
    lines = []
    for name, groups in rows.items():
        cells = [_cell(row, key) for row in groups.values() for key in ("own picture", "stranger")]
        lines.append([name, f"{groups['choosing'].get('largest weight', 0):.2f}", *cells])
    return markdown_table(titles, lines)


def _cell(row: Mapping[str, Any], gain: str) -> str:
    """A gain with its interval, and of how many people if it is not everybody."""
    if not row:
        return "nobody"
    n = row[gain]["n"]
    people = "" if n == row["people"] else f", {n} of {row['people']} people"
    return interval_text(row[gain], "+.3f") + people
