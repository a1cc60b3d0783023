"""PMG as a system: keywords and soft tokens of a preference, the best of several pictures, and no ranker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import torch

from generation.language.loading import load_language_model
from generation.request import Explanation, Request
from generation.settings import INCIDENTAL
from generation.systems.pmg.config import PmgConfig
from generation.systems.pmg.pmg import Pmg
from generation.systems.pmg.soft_preference import SoftPreference
from generation.systems.pmg.training import train_pmg
from generation.training import Resume
from ragar_rec.stages.unrewarded import UnrewardedSystem
from ragar_rec.store.curves import recorded_curves


@dataclass(frozen=True, eq=False)
class PmgSystem(UnrewardedSystem):
    """PMG; its folder holds the trained soft preference. A stopped training goes on.

    Attributes:
        settings: PMG's own.
        save_every: steps after which a stopped training can go on.
    """

    name: ClassVar[str] = "pmg"
    resumable: ClassVar[bool] = True
    settings: PmgConfig
    save_every: int = field(metadata=INCIDENTAL)

    @property
    def label(self) -> str:
        """Its authors' name of it."""
        return "PMG"

    @property
    def description(self) -> str:
        """How pictures are sampled."""
        sampling, n = self.sampling, len(self.settings.repetitions)
        return f"the best of {n}, {sampling.described}"

    def new_generator(self) -> Pmg:
        """PMG on the frozen components, with fresh weights."""
        components, settings, place = self.components, self.settings, self.components.models.place
        model, tokenizer = load_language_model(components.language.path)
        soft = SoftPreference(
            model.to(place["dtype"]),  # type: ignore[call-overload]
            tokenizer,
            width=components.pipeline.width,
            soft_tokens=settings.soft_tokens,
            soft_rows=settings.soft_rows,
            prefix_tokens=settings.prefix_tokens,
            generator=torch.Generator().manual_seed(self.seed),
        )
        encoder = components.encoder.model
        return Pmg(
            components.pipeline,
            soft.to(place["device"]),
            components.gallery,
            encoder,
            settings,
            self.sampling,
            components.prompt,
        )

    def build(self, to: Path) -> None:
        pmg, resume = self.new_generator(), Resume(to / "unfinished.safetensors", self.save_every)
        requests, progress = self.training_requests, self.workspace.progress
        with recorded_curves(self.workspace.output, to) as curves:
            train_pmg(pmg, requests, seed=self.seed + 1, curves=curves, resume=resume, progress=progress)
        pmg.save_pretrained(to)
        resume.delete()

    @cached_property
    def generator(self) -> Pmg:
        """The loaded generator."""
        pmg = self.new_generator()
        pmg.load(self.folder)
        return pmg

    def explain(self, requests: Sequence[Request]) -> Sequence[Explanation]:
        """Items of the history, and the keywords that they share."""
        return self.generator.explain(requests)
