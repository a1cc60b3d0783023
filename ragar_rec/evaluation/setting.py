"""The evaluation with one seed under one ranker: its users, and the pictures that they need."""

from __future__ import annotations

from ragar_rec.config.sections import DrawingConfig
from ragar_rec.evaluation.controls import ShuffledUserSampler
from ragar_rec.evaluation.people import sample
from ragar_rec.evaluation.protocols import Candidates, EvaluationProtocol, Reference, Task, tasks
from ragar_rec.evaluation.requests import RequestFactory, pairs_to_draw
from recsys.recbole.dataset import Dataset
from recsys.scoring.counterfactual import Counterfactual


class EvaluationSetting:
    """The evaluation's tasks, protocols and (user, item) pairs, for one ranker and one seed.

    Args:
        dataset: the split.
        view: the ranker's counterfactual scores, which decide what is a candidate.
        pictured: ids of the items that have a picture.
        settings: how many users, candidates and targets, and which protocols.
        seed: of the pictures and of ``shuffled_user``; the sample of users is that of the first seed of ``settings``.

    Attributes:
        people: internal ids of the sampled users.
        tasks: one for each of them.
        protocols: those that ``settings`` names, in its order.
        request_for: the request of a pair.
        shuffled_user: the other user whose pictures the control of this name shows.
        pairs: every (user, item) whose picture is needed.
    """

    def __init__(
        self, dataset: Dataset, view: Counterfactual, pictured: frozenset[str], settings: DrawingConfig, seed: int
    ) -> None:
        self.seed = seed
        # One sample for all seeds, so that a user's values can be averaged over them.
        self.people = sample(dataset, settings.users, settings.seeds[0])
        self.tasks: list[Task] = tasks(dataset, view, self.people)
        protocols: dict[str, EvaluationProtocol] = {
            "reference": Reference(settings.targets),
            "candidates": Candidates(settings.candidates),
        }
        self.protocols = [protocols[name] for name in settings.protocols]
        self.request_for = RequestFactory(dataset, seed)
        self.shuffled_user = ShuffledUserSampler(dataset, seed, self.people)
        item_ids = {str(token): item for item, token in enumerate(dataset.item_tokens)}
        # A pictured item that the data set lacks has no internal id.
        pictured_ids = {item_ids[token] for token in pictured if token in item_ids}
        self.pairs = pairs_to_draw(self.tasks, self.protocols, self.shuffled_user, pictured_ids)
