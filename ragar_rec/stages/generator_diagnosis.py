"""Diagnosis of a generator: what it could draw for each person, what it learned to draw, and what its codec costs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from generation.pictures import to_float
from generation.ragar.optimum import optimised_pictures
from generation.ragar.ragar import Ragar
from generation.ragar.scoring import check_gradient
from generation.request import Request
from ragar_rec.evaluation.controls import ShuffledUserSampler
from ragar_rec.evaluation.finding import COLUMNS, OWN, STRANGER
from ragar_rec.evaluation.frames import BATCH, generate_in_batches, shuffled_user_requests
from ragar_rec.evaluation.generator_findings import CODEC, LEARNED, REACH
from ragar_rec.evaluation.people import training_requests
from ragar_rec.stages.ragar import RagarSystem
from ragar_rec.stages.ranker import Ranker
from ragar_rec.stages.stage import Stage
from ragar_rec.stages.system import System
from recsys.scoring.ranks import write_parquet

LEFT_OUT = "left_out.json"


@dataclass(frozen=True, eq=False)
class GeneratorDiagnosis(Stage):
    """What a system's pictures gain in a ranker's score, a value for each user who is held out from its training.

    The item is each user's last pictured training item, as under the protocol ``generator``; gains are over its own
    picture, in deviations of the user's scores.

    Attributes:
        system: who draws.
        ranker: whose score it is, and whose gradient optimises pictures.
        optimised: users, at most, for whom pictures are optimised one by one; 0 leaves this step out.
        steps: of the optimisation.
        seed: of pictures, strangers and the sample.
    """

    name: ClassVar[str] = "generator-diagnosis"
    system: System
    ranker: Ranker
    optimised: int
    steps: int
    seed: int

    @cached_property
    def requests(self) -> list[Request]:
        """Each held-out user's last pictured training item; users without one have none."""
        return training_requests(self.ranker.dataset, self.system.people.test, self.system.pictures.pictured, self.seed)

    def check(self) -> None:
        """Say that the generator cannot be diagnosed, before it is trained.

        Raises:
            ValueError: there are fewer than two people whom it can be diagnosed with.
        """
        if len(self.requests) < 2:
            raise ValueError(
                f"{len(self.requests)} of the {len(self.system.people.test)} people who judge the generator have a "
                "pictured training item with something before it; its diagnosis needs at least 2"
            )

    def build(self, to: Path) -> None:
        dataset, requests = self.ranker.dataset, self.requests
        sampler = ShuffledUserSampler(dataset, self.seed, self.system.people.test)
        strangers = shuffled_user_requests(requests, dataset, sampler, self.seed)
        rows = [*self._learned(requests, strangers), *self._codec(requests)]
        reasons = {}
        if self.system.reconstruct is None:
            reasons[CODEC] = f"{self.system.label} has no codec that is known here."
        generator, reason = self._optimisable(requests[0])
        if generator is None:
            reasons[REACH] = reason
        else:
            rows += self._reach(generator, requests, strangers)
        write_parquet(pd.DataFrame(rows, columns=pd.Index(COLUMNS)), to / "diagnosis.parquet")
        (to / LEFT_OUT).write_text(json.dumps(reasons))

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One value for each step, subject and user."""
        return pd.read_parquet(self.folder / "diagnosis.parquet")

    @cached_property
    def left_out(self) -> dict[str, str]:
        """Steps that were not measured, each with the reason as a sentence."""
        return json.loads((self.folder / LEFT_OUT).read_text())

    def _optimisable(self, request: Request) -> tuple[Ragar, str] | tuple[None, str]:
        """The generator whose pictures can be optimised by the gradient; or the reason why they cannot."""
        if not self.optimised:
            return None, "`diagnosis.optimised` is 0."
        if not isinstance(self.system, RagarSystem):
            return (None, f"{self.system.label} gives no gradient of its pictures.")
        generator = self.system.generator
        try:
            self.ranker.check_gradient()
            check_gradient(generator, request, self.ranker.reward)
        # The encoder without one (hog) says so by NotImplementedError.
        except (ValueError, NotImplementedError):
            return None, f"the score by {self.ranker.label} has no gradient in pictures."
        return generator, ""

    def _reach(
        self, generator: Ragar, requests: Sequence[Request], strangers: Sequence[Request]
    ) -> Iterator[tuple[Any, ...]]:
        """Gains by the picture optimised for the user, and by that optimised for the stranger, as the user sees it."""
        at = np.arange(len(requests))
        if self.optimised < len(at):
            at = np.sort(np.random.default_rng(self.seed).choice(at, self.optimised, replace=False))
        chosen = [requests[i] for i in at]
        # Both in one call: batches stay full.
        both = [*chosen, *(strangers[i] for i in at)]
        pictures = optimised_pictures(
            generator,
            both,
            self.ranker.reward,
            steps=self.steps,
            checkpointing=isinstance(self.system, RagarSystem) and self.system.training.checkpointing,
            progress=self.workspace.progress,
        )
        for subject, images in zip((OWN, STRANGER), pictures.chunk(2), strict=True):
            yield from self._gains(REACH, subject, chosen, images)

    def _learned(self, requests: Sequence[Request], strangers: Sequence[Request]) -> Iterator[tuple[Any, ...]]:
        """Gains by the system's pictures as they are: the user's own, and the stranger's, as the user sees it."""
        for subject, asked in ((OWN, requests), (STRANGER, strangers)):
            images = generate_in_batches(
                self.system.generator, asked, progress=self.workspace.progress, description=f"v_gen: {subject}"
            )
            yield from self._gains(LEARNED, subject, requests, images)

    def _codec(self, requests: Sequence[Request]) -> Iterator[tuple[Any, ...]]:
        """Gains, mostly losses, by the item's own picture after it went through the codec and back."""
        if (reconstruct := self.system.reconstruct) is None:
            return
        ids = [request.reference for request in requests]
        images = torch.cat([reconstruct(ids[at : at + BATCH]) for at in range(0, len(ids), BATCH)])
        yield from self._gains(CODEC, OWN, requests, images)

    def _gains(self, step: str, subject: str, requests: Sequence[Request], images: Tensor) -> Iterator[tuple[Any, ...]]:
        """One row a user: the picture's score less that of the item's own picture."""
        gains = self._scores(requests, images) - self._scores(requests, self._references(requests))
        for request, gain in zip(requests, gains.tolist(), strict=True):
            yield step, subject, "score", request.user, gain

    @torch.no_grad()
    def _scores(self, requests: Sequence[Request], images: Tensor) -> Tensor:
        starts, reward = range(0, len(requests), BATCH), self.ranker.reward
        return torch.cat([reward(requests[at : at + BATCH], images[at : at + BATCH]).cpu() for at in starts])

    def _references(self, requests: Sequence[Request]) -> Tensor:
        """The items' own pictures."""
        pictures = self.system.pictures
        return to_float(pictures.images[pictures.rows([request.reference for request in requests])])
