"""The evaluation with one seed under one ranker: its users, and the pictures that they need."""

from __future__ import annotations

from ragar_rec.config.sections import DrawingConfig
from ragar_rec.evaluation.controls import Strangers
from ragar_rec.evaluation.people import sample
from ragar_rec.evaluation.protocols import Candidates, Reference, Reranking, Task, tasks
from ragar_rec.evaluation.requests import Requests, wanted_pairs
from recsys.recbole.dataset import Dataset
from recsys.scoring.counterfactual import Counterfactual


class Setting:
    """The evaluation's tasks, protocols and (user, item) pairs.

    Args:
        dataset: the split.
        view: the ranker's counterfactual scores, which decide what is a candidate.
        pictured: ids of the items that have a picture.
        settings: how many users, candidates and targets, and which protocols.
        seed: of the pictures and of the strangers; the sample of users is that of the first seed of ``settings``.
    """

    def __init__(
        self, dataset: Dataset, view: Counterfactual, pictured: frozenset[str], settings: DrawingConfig, seed: int
    ) -> None:
        self.seed = seed
        self.people = sample(dataset, settings.users, settings.seeds[0])
        self.tasks: list[Task] = tasks(dataset, view, self.people)
        protocols: dict[str, Reranking] = {
            "reference": Reference(settings.targets),
            "candidates": Candidates(settings.candidates),
        }
        self.protocols = [protocols[name] for name in settings.protocols]
        self.requests = Requests(dataset, seed)
        self.strangers = Strangers(dataset, seed, self.people)
        rows = {str(token): row for row, token in enumerate(dataset.item_tokens)}
        self.pairs = wanted_pairs(
            self.tasks, self.protocols, self.strangers, {rows[item] for item in pictured if item in rows}
        )
