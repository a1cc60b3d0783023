"""Results: every user's numbers under every judge, protocol and control."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar

import pandas as pd
from torch import Tensor

from generation.pictures import to_float
from ragar_rec.augment import encode_stored_images
from ragar_rec.config.sections import MeasuringConfig
from ragar_rec.evaluation.controls import ItemFeatures, PersonalFeatures, RandomItem, ShuffledUserSampler
from ragar_rec.evaluation.diversity import diversity_frame
from ragar_rec.evaluation.frames import generator_frame, protocol_frame, shuffled_user_requests
from ragar_rec.evaluation.people import training_requests
from ragar_rec.evaluation.per_user import OWN, read_per_user, write_per_user
from ragar_rec.evaluation.protocols import FeatureSource
from ragar_rec.evaluation.setting import EvaluationSetting
from ragar_rec.stages.drawn import DrawnPictures
from ragar_rec.stages.everybody import EverybodyPictures
from ragar_rec.stages.item_pictures import Blocks, item_features, noise, reconstructed
from ragar_rec.stages.ranker import Ranker
from ragar_rec.stages.retrained import CatalogueResults
from ragar_rec.stages.stage import Stage
from ragar_rec.stages.system import System

FeaturesByPair = Mapping[tuple[int, int], Tensor]
"""Image features of generated pictures by (user, item), internal ids."""


@dataclass(frozen=True, eq=False)
class JudgedResults(Stage):
    """The per-user frame of drawn pictures under their judges.

    Attributes:
        drawn: the pictures.
        system: who drew them.
        judges: rankers that score them.
        settings: protocols, controls, seeds, length of the list.
        everybody: the pictures of the control of this name; None without it.
        catalogue: the protocol of this name under each judge.
    """

    name: ClassVar[str] = "results"
    drawn: DrawnPictures
    system: System
    judges: tuple[Ranker, ...]
    settings: MeasuringConfig
    everybody: EverybodyPictures | None = None
    catalogue: tuple[CatalogueResults, ...] = ()

    def build(self, to: Path) -> None:
        frames = [frame for judge in self.judges for frame in (*self._ranks(judge), *self._scores(judge))]
        frames += [stage.frame for stage in self.catalogue]
        write_per_user(pd.concat(frames, ignore_index=True), to / "per_user.parquet")

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One value for each user, seed and cell of the results."""
        return read_per_user(self.folder / "per_user.parquet")

    def _ranks(self, judge: Ranker) -> list[pd.DataFrame]:
        """Recall, NDCG and Delta R under the protocols, a frame a seed."""
        frames, shards, progress = [], self.drawn.shards, self.workspace.progress
        for seed in self.settings.seeds if self.settings.protocols else ():
            setting = self.drawn.setting(judge, seed)
            requests = [setting.request_for(pair) for pair in setting.pairs]
            features = encode_stored_images(judge.reward, shards, requests, progress=progress)
            sources = self._sources(judge, setting, dict(zip(setting.pairs, features, strict=True)))
            frame = protocol_frame(
                setting.tasks,
                setting.protocols,
                sources,
                judge.view,
                judge.dataset,
                k=self.settings.k,
                system=self.system.label,
                judge=judge.label,
                seed=seed,
                progress=progress,
            )
            frames.append(frame)
        return frames

    def _sources(
        self, judge: Ranker, setting: EvaluationSetting, features: FeaturesByPair
    ) -> dict[str, FeatureSource | None]:
        """Image features by control; None is the original."""
        dim, system = judge.view.feature_dim, self.system
        items = sorted({item for _, item in setting.pairs})
        ids = [str(judge.dataset.item_tokens[item]) for item in items]
        blocks: dict[str, Callable[[], Blocks]] = {"noise": lambda: noise(system.pictures, ids, setting.seed)}
        if system.reconstruct is not None:
            blocks["reconstruction"] = lambda: reconstructed(system, ids)
        if (everybody := self.everybody) is not None:
            blocks["everybody"] = lambda: everybody.blocks(everybody.requests_of(ids, setting.seed))
        controls: dict[str, Callable[[], FeatureSource | None]] = {
            "original": lambda: None,
            "shuffled_user": lambda: PersonalFeatures(features, dim, owner=setting.shuffled_user),
            "random_item": lambda: RandomItem(judge.original_features, setting.seed),
            **{name: partial(_same_for_all, judge, name, make) for name, make in blocks.items()},
        }
        own: dict[str, FeatureSource | None] = {OWN: PersonalFeatures(features, dim)}
        return own | {name: controls[name]() for name in self.settings.controls if name in controls}

    def _scores(self, judge: Ranker) -> list[pd.DataFrame]:
        """Scores of v_gen and of what it is compared with, and how one item's pictures differ between users."""
        seed, system = self.settings.seeds[0], self.system
        people = system.people.test
        requests = training_requests(judge.dataset, people, system.pictures.pictured, seed)
        strangers = shuffled_user_requests(
            requests, judge.dataset, ShuffledUserSampler(judge.dataset, seed, people), seed
        )
        references = system.pictures.images[system.pictures.rows([request.reference for request in requests])]
        compared = dict(system.compared)
        if self.everybody is not None:
            compared["everybody"] = self.everybody.system.generator_for(seed)
        how = {"system": system.label, "judge": judge.label, "seed": seed, "progress": self.workspace.progress}
        return [
            generator_frame(system.generator, compared, to_float(references), requests, strangers, judge.reward, **how),
            diversity_frame(system.generator, requests, judge.reward, **how),
        ]


def _same_for_all(judge: Ranker, control: str, blocks: Callable[[], Blocks]) -> ItemFeatures:
    """Features of pictures that are the same for every user."""
    return item_features(judge, blocks(), control)
