"""A run: one config, one store, and every stage between raw files and results, each built when first asked for.

Each stage's key holds the part of the config that it reads and the *content* of the stages before it, so that a change
of one pixel or one key runs exactly what depends on it again.
"""

from __future__ import annotations

import json
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from generation.gallery import Gallery, build_gallery
from generation.ragar.language import LanguageModel, load_language_model
from generation.ragar.projection import fit_projection
from generation.ragar.ragar import Ragar
from generation.ragar.reflection import reflect
from generation.ragar.reflection_config import ReflectionConfig
from generation.ragar.warm_start import ReflectionLog, warm_start
from generation.request import Request
from generation.reward import Mixture, Reward
from generation.rewards.aesthetic import Aesthetic
from generation.rewards.own import OURS, code_of, own_reward
from generation.rewards.relevance import Relevance
from ragar_rec.evaluation.people import People, divide, training_requests
from ragar_rec.stages.ranked import Ranked
from ragar_rec.store.curves import watched
from ragar_rec.store.hashing import digest, hash_file
from ragar_rec.store.store import content

REFLECTION_KEYS = tuple(entry.name for entry in fields(ReflectionConfig) if entry.name != "aesthetic_head")
"""What a generator depends on of the section ``reflection``; the head counts by its content, wherever it lies."""


class Run(Ranked):
    """Stages by name; ``run.ranker`` trains the ranker unless the store has it.

    The arguments are those of :class:`ragar_rec.stages.prepared.Prepared`.
    """

    @property
    def _wording(self) -> dict[str, str]:
        """What else is said to the generator, and by whose cosines captions are compared."""
        words = self.config.words
        return {
            "keywords": content(self.keywords_folder) if words.keywords == "llm" else f"tfidf {words.per_item}",
            "prompt": digest(words.p_g()),
            "semantic": self.store.hash_source(words.sentence_model) if words.semantic == "sentences" else "dual",
        }

    @cached_property
    def gallery(self) -> Gallery:
        words = self.config.words
        return build_gallery(
            self.items,
            self.images,
            self.captions,
            self.keywords,
            self.encoder,
            words.text_encoder(self.encoder),
            self.config.models.visual_encoder(self.weights),
        )

    def new_generator(self) -> Ragar:
        """RAGAR on this run's frozen parts, with fresh weights."""
        models, settings = self.config.models, self.config.generator
        model, tokenizer = load_language_model(self.language_folder if models.language is None else models.language)
        language = LanguageModel(
            model,
            tokenizer,
            image_tokens=settings.image_tokens,
            text_rows=settings.text_rows,
            generator=torch.Generator().manual_seed(settings.seed),
        )
        made = Ragar(
            self.backbone,
            language,
            self.gallery,
            settings,
            text_projection=self.text_projection,
            prompt=self.config.words.p_g(),
        )
        return made.place(**models.place)

    @cached_property
    def text_projection(self) -> Tensor:
        """From the text encoder's rows to the features of pictures: the dual encoder's own where these are its."""
        if self.config.models.visual == "dual":
            return self.encoder.text_projection.cpu()
        return fit_projection(self.backbone, self.gallery)

    @cached_property
    def people(self) -> People:
        """Who trains the generator and who is kept for judging it."""
        return divide(self.dataset, self.config.reflection.held_out, self.config.reflection.seed)

    @cached_property
    def lessons(self) -> list[Request]:
        """What the generator is trained on: a request for each person of ``people.train`` who makes one.

        Raises:
            ValueError: they are fewer than two, or nobody of ``people.test`` makes one.
        """
        seed, pictured = self.config.reflection.seed, self.pictured
        made, judging = (
            training_requests(self.dataset, users, pictured, seed) for users in (self.people.train, self.people.test)
        )
        for requests, users, task, needed in (
            (made, self.people.train, "train the generator", 2),
            (judging, self.people.test, "judge it", 1),
        ):
            if len(requests) < needed:
                raise ValueError(
                    f"{len(requests)} of the {len(users)} people who {task} have a pictured training item with "
                    f"something before it; the generator needs at least {needed}: give more items a picture"
                )
        return made

    @cached_property
    def warm_folder(self) -> Path:
        """The generator before any reward."""
        _ = self.lessons  # Said now rather than after the training: there is nobody to learn from, or to judge by.
        _ = self.image_encoder  # Said now rather than after the warm start: its pictures cannot be judged.

        def build(to: Path) -> None:
            _ = self.extra_rewards  # Likewise: one that cannot be made.
            ragar = self.new_generator()
            with watched(self.output, to) as curves:
                warm_start(ragar, self.config.reflection, ReflectionLog(curves), progress=self.progress)
            ragar.save_pretrained(to)

        keys = ["generator", *(f"reflection.{k}" for k in ("warm_start_steps", "warm_start_learning_rate", "seed"))]
        return self.stage("warm-start", keys, self.frozen, build)

    @property
    def frozen(self) -> dict[str, str]:
        """Contents of everything but the trained weights that a generated picture depends on."""
        learned = {name: content(folder) for name, folder in self.small_models.items()}
        return {"pictures": content(self.pictures_folder)} | learned | self.given | self._said | self._wording

    @cached_property
    def generator_folder(self) -> Path:
        """The generator after reflection."""

        def build(to: Path) -> None:
            ragar = self.new_generator()
            ragar.load(self.warm_folder)
            with watched(self.output, to) as curves:
                log = ReflectionLog(curves)
                reflect(ragar, self.lessons, self.wish, self.config.reflection, log, progress=self.progress)
            ragar.save_pretrained(to)
            (to / "log.json").write_text(json.dumps({"silent_groups": log.silent_groups, "groups": log.groups}))

        before = {"warm": content(self.warm_folder), "ranker": self.ranker_content, **self.frozen, **self._rewarding}
        return self.stage("generator", ["generator", *(f"reflection.{key}" for key in REFLECTION_KEYS)], before, build)

    @property
    def wish(self) -> Reward:
        """What reflection works for: the rewards that the config names, with their weights."""
        weights = self.config.reflection.rewards
        if weights == {"ranker": 1.0}:
            return self.reward
        return Mixture(
            [
                (weight, self.reward if name == "ranker" else self.extra_rewards[name])
                for name, weight in weights.items()
            ]
        )

    @cached_property
    def extra_rewards(self) -> dict[str, Reward]:
        """The rewards that the config names beside the ranker's."""
        return {name: self._extra_reward(name) for name in self.config.reflection.rewards if name != "ranker"}

    def _extra_reward(self, name: str) -> Reward:
        if name == "relevance":
            return Relevance(self.encoder, self.gallery, self.encoder.encode_texts(self.gallery.captions))
        if name == "aesthetic":
            return Aesthetic.from_file(self.encoder, Path(self.config.reflection.aesthetic_head or ""))
        return own_reward(name, self.encoder, self.gallery)

    @property
    def _rewarding(self) -> dict[str, str]:
        """Contents of the files that rewards are made of: the aesthetic head, and the modules of one's own."""
        settings = self.config.reflection
        files = {name: code_of(name) for name in settings.rewards if name not in OURS}
        files["aesthetic"] = Path(settings.aesthetic_head) if settings.aesthetic_head else None
        return {f"reward {name}": hash_file(file) for name, file in files.items() if file is not None}

    def load_generator(self, folder: Path, **changes: Any) -> Ragar:
        """A saved generator, optionally with other sampling settings."""
        ragar = self.new_generator()
        ragar.load(folder)
        ragar.config = replace(ragar.config, **changes)
        return ragar

    @cached_property
    def generator(self) -> Ragar:
        return self.load_generator(self.generator_folder)
