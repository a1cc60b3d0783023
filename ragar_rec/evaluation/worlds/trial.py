"""A trial of a planted world: what the protocols estimate, what the verdict is, and the truth beside both."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from ragar_rec.evaluation.ownership import CandidateLists, ReferenceLists, item_scores, ownership_test
from ragar_rec.evaluation.protocols import Candidates, Reference, Task
from ragar_rec.evaluation.verdict import Evidence, JudgeEvidence, Verdict, verdict
from ragar_rec.evaluation.worlds.clicks import inclusion
from ragar_rec.evaluation.worlds.rankers import Encoder, Log
from ragar_rec.evaluation.worlds.scenarios import SCENARIOS, World
from ragar_rec.evaluation.worlds.truth import expected_ndcg
from recsys.scoring.counterfactual import Counterfactual
from recsys.scoring.statistics import Interval, interval

Features = Float32[np.ndarray, "people items width"]
"""Of the system's pictures, by the shop's numbers of people and items."""

REWARD, JUDGE = "VBPR on encoder A", "VBPR on encoder B"


@dataclass(frozen=True)
class Settings:
    """The size of a world, and what is measured in it."""

    people: int = 300
    items: int = 240
    clicks: tuple[int, int, int] = (20, 10, 10)
    """Of each person, in training, validation and test."""
    candidates: int = 20
    k: int = 10
    permutations: int = 199
    """Of owners; as few as a p-value of .01 allows."""
    shuffles: int = 3
    """Trainings on shuffled photos with whose mean a ranker is compared."""
    smallest_gain: float = 0.1
    """Smallest gain of interest, as a share of NDCG@k under the photos."""
    alphas: tuple[float, ...] = (0.01, 0.05)
    """Probabilities of a false rejection; a verdict is given for each."""


@dataclass(frozen=True)
class Measurement:
    """One ranker's NDCG@k, a value for each person.

    Attributes:
        ranker: its name.
        original: under the photos.
        candidates: own pictures less photos under ``candidates``.
        reference: own pictures less photos under ``reference``.
        truth: expected gain of the list that shows the own pictures of all candidates, over the list of photos.
        personal_truth: ``truth`` less the same with all pictures of one other person.
        reading: validation NDCG@k less the mean of that of the same ranker trained on shuffled photos.
        stranger: own pictures less those of one other person in the whole list, under ``candidates``.
        permuted: own pictures less permuted owners; None where there is no gain whose owner could matter.
        ownership_p: of own pictures among permuted owners; 1 where there is no gain.
    """

    ranker: str
    original: Float[np.ndarray, " people"]
    candidates: Float[np.ndarray, " people"]
    reference: Float[np.ndarray, " people"]
    truth: Float[np.ndarray, " people"]
    personal_truth: Float[np.ndarray, " people"]
    reading: Float[np.ndarray, " people"]
    stranger: Float[np.ndarray, " people"]
    permuted: Float[np.ndarray, " people"] | None
    ownership_p: float

    def evidence(self, alpha: float) -> JudgeEvidence:
        """What the verdict looks at; a ranker that reads no pictures may confirm nothing."""
        permuted = None if self.permuted is None else _interval(self.permuted, alpha)
        objection = "" if _interval(self.reading, alpha).low > 0 else "reads no pictures"
        return JudgeEvidence(
            self.ranker,
            _interval(self.candidates, alpha),
            permuted,
            self.ownership_p,
            objection,
            _interval(self.stranger, alpha),
        )


@dataclass(frozen=True)
class Outcome:
    """What a trial found.

    Attributes:
        world: the scenario's name.
        seed: of the trial.
        measurements: of the reward ranker, then of the judge.
        verdicts: by alpha.
    """

    world: str
    seed: int
    measurements: tuple[Measurement, Measurement]
    verdicts: Mapping[float, Verdict]

    def is_right(self, alpha: float) -> bool:
        """Whether the verdict is one of those that are right in this world."""
        return self.verdicts[alpha].rule in SCENARIOS[self.world].right


def trial(
    name: str, seed: int, settings: Settings | None = None, features: Float[np.ndarray, "pictures width"] | None = None
) -> Outcome:
    """Draw a world and its log, train the rankers, and put estimates and verdicts beside the truth.

    Args:
        name: one of :data:`SCENARIOS`.
        seed: of everything that is drawn.
        settings: sizes; by default those of the tables in the documentation.
        features: of real pictures; None: a Gaussian cloud.
    """
    settings = settings or Settings()
    world = SCENARIOS[name].world(features, people=settings.people, items=settings.items, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        log = Log.draw(world.shop, Path(folder), settings.clicks, np.random.default_rng([seed, 1]))
        trained = _Trial(world, log, settings, seed)
        measurements = trained.measured(REWARD), trained.measured(JUDGE)
    verdicts = {alpha: _verdict(name, measurements, settings, alpha) for alpha in settings.alphas}
    return Outcome(name, seed, measurements, verdicts)


class _Trial:
    """The rankers of one world, asked one after the other."""

    def __init__(self, world: World, log: Log, settings: Settings, seed: int) -> None:
        self.world, self.log, self.settings, self.seed = world, log, settings, seed
        rng, utility = np.random.default_rng([seed, 2]), log.utility()
        self.clicks, self.rng = inclusion(utility, settings.clicks[2], rng), rng

    def measured(self, ranker: str) -> Measurement:
        """Train the ranker on photos and, several times, on shuffled ones, and measure it."""
        log, settings, number = self.log, self.settings, 3 + (ranker == JUDGE)
        rng = np.random.default_rng([self.seed, number])
        encoder = Encoder(self.world.shop.photos.shape[1], sees_badge=ranker == REWARD, rng=rng)
        photos, features = encoder(self.world.shop.photos), encoder(self.world.pictures)
        view = log.trained("image", photos, 10 * self.seed + number)
        shuffled = [
            log.trained("shuffled", photos[rng.permutation(len(photos))], 10 * self.seed + number)
            for _ in range(settings.shuffles)
        ]
        tasks, protocol = log.tasks(view), Candidates(settings.candidates)
        lists = CandidateLists(tasks, protocol, "ndcg", settings.k)
        items = np.stack(lists.items)
        own, stranger = (self._scores(tasks, items, view, features, shift).double().numpy() for shift in (0, 1))
        original, with_own, with_strangers = lists.metric(np.stack([lists.scores, own, stranger]))
        permuted, p = None, 1.0
        # The verdict asks for the owner of a gain only.
        if _interval(with_own - original, max(settings.alphas)).low > 0:
            scores = item_scores(lists, self._by_pair(lists, features), view)
            test = ownership_test(lists, scores, permutations=settings.permutations, seed=self.seed)
            permuted, p = (test.own - test.permuted).to_numpy(), test.p
        truth, strangers_truth = self._truth(tasks, items, own, 0), self._truth(tasks, items, stranger, 1)
        return Measurement(
            ranker=ranker,
            original=original,
            candidates=with_own - original,
            reference=self._reference(tasks, view, features),
            truth=truth,
            personal_truth=truth - strangers_truth,
            reading=log.validation_ndcg(view, settings.k)
            - np.mean([log.validation_ndcg(other, settings.k) for other in shuffled], axis=0),
            stranger=with_own - with_strangers,
            permuted=permuted,
            ownership_p=p,
        )

    def _reference(self, tasks: list[Task], view: Counterfactual, features: Features) -> Float[np.ndarray, " people"]:
        """Gain of NDCG@k if each held-out item alone shows its new picture."""
        lists = ReferenceLists(tasks, Reference(), "ndcg", self.settings.k)
        own = self._scores(tasks, np.stack(lists.items), view, features).double().numpy()
        before, after = lists.metric(np.stack([lists.scores, own]))
        return after - before

    def _scores(
        self,
        tasks: list[Task],
        items: Int[np.ndarray, "people n"],
        view: Counterfactual,
        features: Features,
        shift: int = 0,
    ) -> Float[Tensor, "people n"]:
        """Scores of a list of items for each person, each with the pictures of the person ``shift`` places further."""
        users = np.array([task.user for task in tasks])
        shown = features[self._owners(tasks, shift)[:, None], self.log.items[items - 1]]
        with torch.no_grad():
            return view.substitute_lists(torch.from_numpy(users), torch.from_numpy(items), torch.from_numpy(shown))

    def _owners(self, tasks: list[Task], shift: int) -> Int[np.ndarray, " people"]:
        return np.roll(self.log.users[[task.user - 1 for task in tasks]], shift)

    def _by_pair(self, lists: CandidateLists, features: Features) -> dict[tuple[int, int], Tensor]:
        """Features of the pictures in the lists, by internal ids."""
        return {
            (user, item): torch.from_numpy(features[self.log.users[user - 1], self.log.items[item - 1]])
            for user, item in lists.slots
        }

    def _truth(
        self,
        tasks: list[Task],
        items: Int[np.ndarray, "people candidates"],
        scores: Float[np.ndarray, "people candidates"],
        shift: int,
    ) -> Float[np.ndarray, " people"]:
        """Expected NDCG@k of the candidates by these scores of their new pictures, less that of the photos' list."""
        k, n = self.settings.k, self.settings.clicks[2]
        # Equal scores keep the original order, as under `candidates`.
        reranked = np.take_along_axis(items, np.argsort(-scores, axis=1, kind="stable"), axis=1)
        people, owners, clicks = self._owners(tasks, 0), self._owners(tasks, shift), self.clicks
        if self.world.shop.eta:
            shown, listed = np.tile(self.world.shop.photos, (len(people), 1, 1)), self.log.items[items - 1]
            shown[people[:, None], listed] = self.world.pictures[owners[:, None], listed]
            clicks = inclusion(self.log.utility(shown), n, self.rng)
        new = expected_ndcg(self.log.items[reranked[:, :k] - 1], clicks[people], n)
        return new - expected_ndcg(self.log.items[items[:, :k] - 1], self.clicks[people], n)


def _verdict(name: str, measurements: tuple[Measurement, ...], settings: Settings, alpha: float) -> Verdict:
    reward, judge = measurements
    evidence = Evidence(
        system=name,
        metric=f"NDCG@{settings.k}",
        reward=reward.evidence(alpha),
        original=float(reward.original.mean()),
        judges=(judge.evidence(alpha),),
        reference=_interval(reward.reference, alpha),
        barren="" if _interval(reward.reading, alpha).low > 0 else "the ranker reads no pictures",
    )
    return verdict(evidence, smallest_gain=settings.smallest_gain, alpha=alpha)


def _interval(values: Float[np.ndarray, " people"], alpha: float) -> Interval:
    return interval(values, confidence=1 - alpha)
