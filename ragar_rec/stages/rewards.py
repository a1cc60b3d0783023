"""The reward that a generator is trained with: a ranker's score or its personal part, by one training or several, alone
or mixed with others that the config names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generation.encoders.dual import OpenClipEncoder
from generation.gallery import Gallery
from generation.plugins import code_of
from generation.ragar.reflection_config import ReflectionConfig
from generation.request import Request
from generation.reward import DirectedReward, Mixture, Reward, directed
from generation.rewards.aesthetic import Aesthetic
from generation.rewards.choice import BUILT_IN
from generation.rewards.ensemble import Ensemble
from generation.rewards.own import load_reward
from generation.rewards.personal import Personal
from generation.rewards.relevance import Relevance
from ragar_rec.stages.ranker import Ranker
from ragar_rec.stages.stage import Keyed
from ragar_rec.store.hashing import hash_file


@dataclass(frozen=True, eq=False)
class Rewards(Keyed):
    """Rewards by name with their weights.

    Attributes:
        ranker: whose counterfactual score is the reward ``ranker``.
        weights: by name, see ``ReflectionConfig.rewards``.
        aesthetic_head: the file of the reward ``aesthetic``.
        twins: the same ranker, trained with other seeds.
    """

    ranker: Ranker
    weights: Mapping[str, float]
    aesthetic_head: Path | None = None
    twins: tuple[Ranker, ...] = ()

    @property
    def key(self) -> dict[str, Any]:
        """Also the code of rewards of one's own, and that the taste vector is of all trainings."""
        files = {name: code_of(name) for name in self.weights if name not in BUILT_IN}
        code = {name: hash_file(file) for name, file in files.items() if file is not None}
        return super().key | {"code": code} | ({"directions": "mean"} if self.twins else {})

    @property
    def extra(self) -> list[str]:
        """Names of the rewards beside the ranker's."""
        return [name for name in self.weights if name != "ranker"]

    def of(
        self, encoder: OpenClipEncoder, gallery: Gallery, settings: ReflectionConfig, people: Sequence[Request]
    ) -> Reward:
        """The reward of pictures.

        Args:
            encoder: the generator's dual encoder.
            gallery: the generator's.
            settings: whether the reward ``ranker`` is personal, and what its twins' disagreement costs.
            people: requests of those who train the generator, among whom the others of a personal reward are drawn.
        """
        ranker = self._of_rankers(gallery, settings, people)
        if dict(self.weights) == {"ranker": 1.0}:
            return ranker
        parts = {name: ranker if name == "ranker" else self._extra(name, encoder, gallery) for name in self.weights}
        return Mixture([(self.weights[name], part) for name, part in parts.items()])

    def directed(self, gallery: Gallery, settings: ReflectionConfig, people: Sequence[Request]) -> DirectedReward:
        """Who knows a person's taste vector: the ranker and its twins, net of others' where the reward is personal."""
        return directed(self._of_rankers(gallery, settings, people))

    def _of_rankers(self, gallery: Gallery, settings: ReflectionConfig, people: Sequence[Request]) -> Reward:
        # Personal first: twins must disagree on what they pay for.
        ranker, *twins = (_of_ranker(each, settings, people) for each in (self.ranker, *self.twins))
        return Ensemble([ranker, *twins], gallery, settings.uncertainty) if twins else ranker

    def check(self, encoder: OpenClipEncoder, gallery: Gallery) -> None:
        """Make every reward but the ranker's.

        Raises:
            ValueError: one cannot be made.
        """
        for name in self.extra:
            self._extra(name, encoder, gallery)

    def _extra(self, name: str, encoder: OpenClipEncoder, gallery: Gallery) -> Reward:
        if name == "relevance":
            return Relevance(encoder, gallery, encoder.encode_texts(gallery.captions))
        if name == "aesthetic":
            return Aesthetic.from_file(encoder, Path(self.aesthetic_head or ""))
        return load_reward(name, encoder, gallery)


def _of_ranker(ranker: Ranker, settings: ReflectionConfig, people: Sequence[Request]) -> Reward:
    """One ranker's reward, or its personal part."""
    if not settings.personal:
        return ranker.reward
    histories = {request.user: request.history for request in people}
    return Personal(ranker.reward, histories, settings.personal, settings.seed, settings.personal_form)
