"""RAGAR as a system: frozen components, the warm start, and the generator trained with a ranker's reward."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from generation.encoders.encoder import encode_in_blocks
from generation.ragar.config import RagarConfig
from generation.ragar.fixed_shape import FixedShape
from generation.ragar.ragar import Ragar
from generation.ragar.reflection import reflect
from generation.ragar.reflection_config import ReflectionConfig, WarmStartConfig
from generation.ragar.taste import Taste
from generation.ragar.warm_start import ReflectionLog, warm_start
from generation.request import Explanation, Generator, Request
from generation.reward import Reward
from generation.rewards.personal import check_others
from ragar_rec.evaluation.frames import GlobalGenerator
from ragar_rec.evaluation.people import People, divide, generator_requests
from ragar_rec.stages.catalogue import Pictures
from ragar_rec.stages.components import Components
from ragar_rec.stages.masks import Masks
from ragar_rec.stages.ranker import Ranker, check_reads_pictures
from ragar_rec.stages.rewards import Rewards
from ragar_rec.stages.stage import Stage
from ragar_rec.store.curves import recorded_curves
from ragar_rec.store.hashing import digest
from ragar_rec.store.store import content
from recsys.recbole.dataset import Dataset


@dataclass(frozen=True, eq=False)
class WarmStart(Stage):
    """The generator after supervised training, before any reward."""

    name: ClassVar[str] = "warm-start"
    components: Components
    settings: RagarConfig
    training: WarmStartConfig

    def build(self, to: Path) -> None:
        ragar = self.components.new_generator(self.settings)
        with recorded_curves(self.workspace.output, to) as curves:
            warm_start(ragar, self.training, ReflectionLog(curves), progress=self.workspace.progress)
        ragar.save_pretrained(to)

    @cached_property
    def content(self) -> str:
        """Hash of the trained weights and of the frozen components: the warm start does not read all of these."""
        return digest([content(self.folder), self.components.content])

    def load(self, folder: Path, **changes: Any) -> Ragar:
        """A generator saved in a folder on these components, optionally with other sampling settings."""
        ragar = self.components.new_generator(self.settings)
        ragar.load(folder)
        ragar.config = replace(ragar.config, **changes)
        return ragar

    @cached_property
    def generator(self) -> Ragar:
        """The loaded generator."""
        return self.load(self.folder)


@dataclass(frozen=True, eq=False)
class RagarSystem(Stage):
    """RAGAR: a warm start, a reward, and a seed; its folder holds the generator after reflection.

    Attributes:
        warm: the generator before any reward.
        rewards: what reflection works for.
        training: how; its ``seed`` is that of batches and noise.
        people_seed: of the division of people into training, validation and test.
    """

    name: ClassVar[str] = "generator"
    warm: WarmStart
    rewards: Rewards
    training: ReflectionConfig
    people_seed: int

    @property
    def components(self) -> Components:
        """The frozen parts."""
        return self.warm.components

    @property
    def pictures(self) -> Pictures:
        """Of the catalogue."""
        return self.components.pictures

    @property
    def ranker(self) -> Ranker:
        """The ranker that rewards."""
        return self.rewards.ranker

    @property
    def label(self) -> str:
        """The paper's name of it."""
        return "RAGAR"

    @property
    def description(self) -> str:
        """How pictures are sampled."""
        return self.warm.settings.described

    @property
    def dataset(self) -> Dataset:
        """The rewarding ranker's interactions."""
        return self.ranker.dataset

    @cached_property
    def people(self) -> People:
        """Users whom the generator is trained on, and users held out for judging it."""
        return divide(self.dataset, self.training.held_out, self.people_seed)

    @cached_property
    def training_requests(self) -> list[Request]:
        """A request for each user of ``people.train`` whose history makes one.

        Raises:
            ValueError: they are fewer than two, or no user of ``people.test`` makes one.
        """
        return generator_requests(self.dataset, self.people, self.components.pictures.pictured, self.training.seed)

    def check(self) -> None:
        """Say before the UNet and the warm start are trained what would keep this system from being trained.

        Raises:
            ValueError: the masks of what is kept cannot be made, too few users make requests, at all or for
                ``personal``, new pictures cannot be encoded for the ranker, or a reward of one's own cannot be made.
            FileNotFoundError: masks are missing.
            NotImplementedError: ``objective: path``, and the ranker's image encoder has no gradient.
        """
        check_reads_pictures(self.ranker.settings)
        if self.masks is not None:
            _ = self.masks.kept
        if self.training.objective == "path":
            self.ranker.check_gradient()
        requests = self.training_requests
        if self.training.personal:
            check_others(self.training.personal, len(requests))
        encoder = self.ranker.features.encoder
        if self.training.objective == "path":
            # An encoder without a gradient says so when it is asked for one.
            encoder.encode_images(torch.zeros(1, 3, *self.pictures.size, requires_grad=True))
        if self.warm.settings.asks_taste:
            self.ranker.check_gradient()
        if self.rewards.extra:
            self.rewards.check(self.components.encoder.model, self.components.gallery)

    @cached_property
    def content(self) -> str:
        """Hash of the trained weights, of the untrained generator on its frozen components, and of who is held out."""
        parts = [content(self.folder), self.warm.content, self.people_seed, self.training.held_out]
        # With a taste the rewarding ranker takes part in every picture.
        return digest([*parts, self.rewards.content] if self.warm.settings.asks_taste else parts)

    @cached_property
    def reward(self) -> Reward:
        """What reflection works for."""
        parts = self.components
        return self.rewards.of(parts.encoder.model, parts.gallery, self.training, self.training_requests)

    def build(self, to: Path) -> None:
        ragar = self.load(self.warm.folder)
        with recorded_curves(self.workspace.output, to) as curves:
            log = ReflectionLog(curves)
            reflect(ragar, self.training_requests, self.reward, self.training, log, progress=self.workspace.progress)
        ragar.save_pretrained(to)
        (to / "log.json").write_text(json.dumps({"silent_groups": log.silent_groups, "groups": log.groups}))

    @cached_property
    def generator(self) -> Ragar:
        """The loaded generator."""
        return self.load(self.folder)

    @cached_property
    def untrained(self) -> Ragar:
        """The generator before any reward; it asks for a person's taste as the trained one does."""
        return self.load(self.warm.folder)

    def load(self, folder: Path) -> Ragar:
        """A generator saved in a folder, which asks for a person's taste where it is to have one."""
        ragar = self.warm.load(folder)
        if ragar.config.asks_taste:
            ragar.taste = self.taste
        return ragar

    @cached_property
    def taste(self) -> Taste:
        """Who knows a person's taste vector: the rewarding ranker, which may see by an encoder of its own."""
        gallery = self.components.gallery
        reward = self.rewards.directed(gallery, self.training, self.training_requests)
        if self.components.models.visual == "dual" and reward.encoder is self.components.encoder.model:
            return Taste(reward, gallery)
        # Others stand in the gallery at length 1, if at all, which the reward's gradient does not know.
        seen = encode_in_blocks(reward.encoder, gallery.images[gallery.pictured])
        features = seen.new_zeros(len(gallery.ids), seen.shape[1])
        features[gallery.pictured] = seen
        return Taste(reward, gallery, features)

    def batched(self, batch_size: int) -> FixedShape:
        """The generator with one shape of batch."""
        return FixedShape(self.generator, batch_size)

    def explain(self, requests: Sequence[Request]) -> Sequence[Explanation]:
        """Retrieved items, their weights, and keywords."""
        with torch.no_grad():
            return self.generator.encode_preference(requests).explanations

    @property
    def compared(self) -> Mapping[str, Generator]:
        """v_glob, and the generator before any reward."""
        return {"global": GlobalGenerator(self.generator), "untrained": self.untrained}

    @property
    def reconstruct(self) -> Callable[[Sequence[str]], Tensor]:
        """What the generator's domain makes of items' own pictures by itself."""
        return partial(self.components.reconstruct, sampling=self.warm.settings)

    @property
    def masks(self) -> Masks | None:
        """Those of the gallery."""
        return self.components.masks

    @property
    def learned_from_ranker(self) -> bool:
        """The ranker's score is a part of the reward."""
        return True

    @property
    def curve_folders(self) -> list[Path]:
        """Those of the small models, of the warm start and of reflection."""
        return [*self.components.trained_folders, self.warm.folder, self.folder]
