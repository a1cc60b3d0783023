"""Results: every user's numbers under every judge, protocol and control."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from torch import Tensor

from ragar_rec.augment import encode_stored_images
from ragar_rec.config.sections import MeasuringConfig
from ragar_rec.evaluation.controls import ItemFeatures, PersonalFeatures, RandomItem
from ragar_rec.evaluation.diversity import diversity_frame
from ragar_rec.evaluation.frames import protocol_frame
from ragar_rec.evaluation.ownership import CandidateLists, item_scores, own_scores, ownership_frames
from ragar_rec.evaluation.people import training_requests
from ragar_rec.evaluation.per_user import OWN, PERMUTED_OWNERS, read_per_user, write_per_user
from ragar_rec.evaluation.planted import RerankedLists
from ragar_rec.evaluation.protocols import Candidates, FeatureSource
from ragar_rec.evaluation.setting import EvaluationSetting
from ragar_rec.stages.drawn import DrawnPictures, PictureStage
from ragar_rec.stages.everybody import EverybodyPictures
from ragar_rec.stages.held_out import held_out_frame
from ragar_rec.stages.item_pictures import Blocks, item_features, noise, reconstructed
from ragar_rec.stages.ranker import Ranker
from ragar_rec.stages.reading import Reading
from ragar_rec.stages.retrained import CatalogueResults
from ragar_rec.stages.stage import Stage
from ragar_rec.stages.system import System

OWNERSHIP = "ownership.parquet"
"""File of the permutations, beside the per-user frame."""

OWNERSHIP_COLUMNS = ("protocol", "metric", "draw", "value", "system", "judge", "seed")
"""Columns of the permutations, without the training seed."""

FeaturesByPair = Mapping[tuple[int, int], Tensor]
"""Image features of generated pictures by (user, item), internal ids."""


@dataclass(frozen=True, eq=False)
class JudgedResults(Stage):
    """The per-user frame of drawn pictures under their judges, after one training.

    Attributes:
        drawn: the pictures.
        system: who drew them.
        judges: rankers that score them, by name; the first is the one that rewards.
        settings: protocols, controls, seeds, length of the list.
        training_seed: which of ``evaluation.training_seeds`` system and judges were trained with.
        everybody: the pictures of the control of this name; None without it.
        catalogue: the protocol of this name under each judge.
    """

    name: ClassVar[str] = "results"
    drawn: DrawnPictures
    system: System
    judges: Mapping[str, Ranker]
    settings: MeasuringConfig
    training_seed: int = 0
    everybody: EverybodyPictures | None = None
    catalogue: tuple[CatalogueResults, ...] = ()

    @property
    def key(self) -> dict[str, Any]:
        """Also which judge is the first: the order of a mapping alone does not count."""
        return super().key | {"reward": next(iter(self.judges))}

    def build(self, to: Path) -> None:
        frames, draws = [*self._scores()], []
        for judge in self.judges:
            # `catalogue` alone shows nobody a list, and has no owners to permute.
            for seed in self.settings.seeds if self.settings.protocols else ():
                ranks, permuted = self._ranks(judge, seed)
                frames += ranks
                draws.append(permuted)
        frame = pd.concat(frames, ignore_index=True).assign(training_seed=self.training_seed)
        frame = pd.concat([frame, *(stage.frame for stage in self.catalogue)], ignore_index=True)
        write_per_user(frame, to / "per_user.parquet")
        owners = pd.concat(draws, ignore_index=True) if draws else pd.DataFrame(columns=pd.Index(OWNERSHIP_COLUMNS))
        owners.assign(training_seed=self.training_seed).to_parquet(to / OWNERSHIP)

    @property
    def drawings(self) -> list[PictureStage]:
        """All pictures that a generator draws for these results."""
        everybody = [] if self.everybody is None else [self.everybody]
        return [self.drawn, *everybody, *(stage for results in self.catalogue for stage in results.drawings)]

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One value for each user, seed and cell of the results."""
        return read_per_user(self.folder / "per_user.parquet")

    @cached_property
    def ownership(self) -> pd.DataFrame:
        """The mean over users of each permutation, see :func:`ragar_rec.evaluation.ownership.ownership_p`."""
        return pd.read_parquet(self.folder / OWNERSHIP)

    def reranked(self) -> RerankedLists:
        """The lists of the rewarding ranker before and after they got the users' own pictures, with the first seed.

        Raises:
            ValueError: lists are not of one length, as some user has fewer than C candidates.
        """
        judge = next(iter(self.judges.values()))
        setting = self.drawn.setting(judge, self.settings.seeds[0])
        features, protocol = self._features(judge, setting), Candidates(self.settings.candidates)
        lists = CandidateLists(setting.tasks, protocol, "ndcg", self.settings.k)
        if not np.isfinite(lists.scores).all():
            c = self.settings.candidates
            raise ValueError(f"some people have fewer than {c} candidates: lower evaluation.candidates")
        shown = own_scores(lists, item_scores(lists, features, judge.view))
        order = np.argsort(-shown, axis=1, kind="stable")
        before = np.tile(np.arange(1, order.shape[1] + 1), (len(order), 1))
        held_out = np.array([len(task.targets) for task in setting.tasks])
        hits = lists.relevance.astype(int)
        return RerankedLists(before, order.argsort(axis=1) + 1, hits.sum(1), held_out, hits.sum(0))

    def _features(self, judge: Ranker, setting: EvaluationSetting) -> FeaturesByPair:
        """Features of the drawn pictures as a judge reads them."""
        requests = [setting.request_for(pair) for pair in setting.pairs]
        encoded = encode_stored_images(judge.reward, self.drawn.shards, requests, progress=self.workspace.progress)
        return dict(zip(setting.pairs, encoded, strict=True))

    def _ranks(self, name: str, seed: int) -> tuple[list[pd.DataFrame], pd.DataFrame]:
        """Recall, NDCG and Delta R under the protocols, then the permuted owners' per user; and the permutations."""
        judge, setting = self.judges[name], self.drawn.setting(self.judges[name], seed)
        features = self._features(judge, setting)
        cell = {"system": self.system.label, "judge": name, "seed": seed}
        frame = protocol_frame(
            setting.tasks,
            setting.protocols,
            self._sources(judge, setting, features),
            judge.view,
            judge.dataset,
            k=self.settings.k,
            progress=self.workspace.progress,
            **cell,
        )
        people, draws = ownership_frames(
            setting.tasks,
            setting.protocols,
            features,
            judge.view,
            k=self.settings.k,
            permutations=self.settings.permutations,
            # The same permutations for all seeds, so that one owner's pictures change places together.
            seed=self.settings.seeds[0],
        )
        tokens = judge.dataset.user_tokens[people["user"].to_numpy()]
        permuted = people.assign(user=tokens.astype(str), control=PERMUTED_OWNERS, **cell)
        return [frame, permuted], draws.assign(**cell)

    def _sources(
        self, judge: Ranker, setting: EvaluationSetting, features: FeaturesByPair
    ) -> dict[str, list[FeatureSource | None]]:
        """Image features by control, one source a draw; None is the original."""
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
            **{name: partial(_same_for_all, judge, name, make) for name, make in blocks.items()},
        }
        sources: dict[str, list[FeatureSource | None]] = {OWN: [PersonalFeatures(features, dim)]}
        for name in self.settings.controls:
            if name in controls:
                sources[name] = [controls[name]()]
            # It needs no generated picture: all its draws come with the first seed.
            elif name == "random_item" and setting.seed == self.settings.seeds[0]:
                seeds = range(setting.seed, setting.seed + self.settings.draws)
                sources[name] = [RandomItem(judge.original_features, draw) for draw in seeds]
        return sources

    def _scores(self) -> list[pd.DataFrame]:
        """Scores of v_gen and of what it is compared with, and how one item's pictures differ between users."""
        seed, system, progress = self.settings.seeds[0], self.system, self.workspace.progress
        first, dataset = next(iter(self.judges)), system.ranker.dataset
        requests = training_requests(dataset, system.people.test, system.pictures.pictured, seed)
        compared = dict(system.compared)
        if self.everybody is not None:
            compared["everybody"] = self.everybody.system.generator_for(seed)
        rewards = {name: judge.reward for name, judge in self.judges.items()}
        how = {"system": system.label, "seed": seed, "progress": progress}
        return [
            held_out_frame(system, rewards, seed, compared=compared),
            diversity_frame(system.generator, requests, rewards[first], judge=first, **how),
        ]


def _same_for_all(judge: Ranker, control: str, blocks: Callable[[], Blocks]) -> ItemFeatures:
    """Features of pictures that are the same for every user."""
    return item_features(judge, blocks(), control)


def judged_frames(results: Sequence[JudgedResults], readings: Sequence[Reading]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The per-user frame and the permutations of owners of all systems, trainings and judges."""
    frames = [stage.frame for stage in (*results, *readings)]
    return (
        pd.concat([frame for frame in frames if len(frame)], ignore_index=True),
        pd.concat([stage.ownership for stage in results], ignore_index=True),
    )
