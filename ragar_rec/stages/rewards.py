"""The reward that a generator is trained with: the ranker's score, alone or mixed with others that the config names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generation.encoders.dual import OpenClipEncoder
from generation.gallery import Gallery
from generation.plugins import code_of
from generation.reward import Mixture, Reward
from generation.rewards.aesthetic import Aesthetic
from generation.rewards.choice import BUILT_IN
from generation.rewards.own import load_reward
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
        """Also the code of rewards of one's own."""
        files = {name: code_of(name) for name in self.weights if name not in BUILT_IN}
        return super().key | {"code": {name: hash_file(file) for name, file in files.items() if file is not None}}

    @property
    def extra(self) -> list[str]:
        """Names of the rewards beside the ranker's."""
        return [name for name in self.weights if name != "ranker"]

    def of(self, ranker: Reward, encoder: OpenClipEncoder, gallery: Gallery) -> Reward:
        """The reward of pictures.

        Args:
            ranker: the reward ``ranker``: that of :attr:`ranker`, or its personal part.
            encoder: the generator's dual encoder.
            gallery: the generator's.
        """
        if dict(self.weights) == {"ranker": 1.0}:
            return ranker
        parts = {name: ranker if name == "ranker" else self._extra(name, encoder, gallery) for name in self.weights}
        return Mixture([(self.weights[name], part) for name, part in parts.items()])

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
