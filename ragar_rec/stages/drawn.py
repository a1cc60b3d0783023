"""The pictures that the evaluation needs, drawn once by a system and kept in shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from generation.request import Request
from ragar_rec.augment import Plan, draw_shards, plan_shards, process_share
from ragar_rec.config.sections import DrawingConfig
from ragar_rec.evaluation.requests import RequestFactory, read_requests, resolve_pairs
from ragar_rec.evaluation.setting import EvaluationSetting
from ragar_rec.stages.ranker import Ranker
from ragar_rec.stages.stage import Stage
from ragar_rec.stages.system import System
from ragar_rec.store.hashing import digest
from ragar_rec.store.shards import ImageShards
from recsys import distributed


@dataclass(frozen=True, eq=False)
class PictureStage(Stage):
    """Personalised pictures in shards, drawn by every process of a launcher; a stopped drawing goes on.

    Attributes:
        system: who draws.
    """

    resumable: ClassVar[bool] = True
    system: System

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of generation."""
        raise NotImplementedError

    @property
    def batch_size(self) -> int:
        """Pictures that are drawn at a time and kept as one shard."""
        raise NotImplementedError

    def requests(self) -> list[Request]:
        """What is drawn, each once."""
        raise NotImplementedError

    def build(self, to: Path) -> None:
        requests = self.requests()
        shards = self._opened(to)
        plan = plan_shards(requests, shards, self.batch_size)
        distributed.call_on_all(draw_share, self.system, self.batch_size, plan, shards)
        self._opened(to).write_manifest(requests)

    @property
    def shards(self) -> ImageShards:
        """The finished pictures."""
        return self._opened(self.folder)

    def blocks(self, requests: Sequence[Request] | None = None) -> Iterator[tuple[Sequence[str], Tensor]]:
        """Items with their pictures, a batch at a time: of some requests, by default of all."""
        chosen, shards = self.requests() if requests is None else requests, self.shards
        for start in range(0, len(chosen), self.batch_size):
            batch = chosen[start : start + self.batch_size]
            yield [request.reference for request in batch], shards.read(batch)

    def _opened(self, folder: Path) -> ImageShards:
        return ImageShards(folder, {"seeds": list(self.seeds)})


@dataclass(frozen=True, eq=False)
class DrawnPictures(PictureStage):
    """A personalised picture for each (user, item) that the protocols ask for.

    Attributes:
        system: who draws.
        judges: rankers whose candidates are drawn; each protocol is run under each.
        settings: whose pictures, and how many at a time.
    """

    name: ClassVar[str] = "images"
    judges: tuple[Ranker, ...]
    settings: DrawingConfig

    @property
    def seeds(self) -> tuple[int, ...]:
        return self.settings.seeds

    @property
    def batch_size(self) -> int:
        return self.settings.batch_size

    def setting(self, judge: Ranker, seed: int) -> EvaluationSetting:
        """The evaluation under one judge with one seed.

        Raises:
            ValueError: the judge knows other interactions, or another split of them, than the pictures were made for.
        """
        if judge.dataset.digest() != self.system.ranker.dataset.digest():
            raise ValueError(
                f"{judge.label} knows other interactions, or another split, than those for which {self.system.label} "
                "makes pictures: judges must be trained on the same data (experiment.new_ranker)"
            )
        pictured = self.system.pictures.pictured
        return EvaluationSetting(judge.dataset, judge.view, pictured, self.settings, seed)

    def requests(self) -> list[Request]:
        """The requests of all judges and seeds, each once."""
        settings = [self.setting(judge, seed) for seed in self.settings.seeds for judge in self.judges]
        return list(dict.fromkeys(setting.request_for(pair) for setting in settings for pair in setting.pairs))


def draw_share(system: System, batch_size: int, plan: Plan, shards: ImageShards) -> None:
    """Draw this process's share of the plan, then wait for the other processes."""
    if mine := process_share(plan):
        draw_shards(system.batched(batch_size), mine, shards, progress=system.workspace.progress)
    distributed.barrier()


def draw_requests(system: System, settings: DrawingConfig, file: Path, folder: Path) -> ImageShards:
    """Draw the pictures that a CSV file asks for, outside the store; those that are there already stay.

    Args:
        system: who draws.
        settings: the seeds, and pictures at a time.
        file: with the columns ``user_id`` and ``item_id``.
        folder: where the pictures are kept.

    Returns:
        All pictures of the folder; its ``manifest.csv`` says which is whose.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it asks for what is unknown (the line is named), or the folder holds pictures of another generator
            or batch size.
    """
    lines, dataset = read_requests(file), system.ranker.dataset
    pairs = resolve_pairs(lines, dataset, system.pictures.pictured)
    requests = [
        request(pair) for request in (RequestFactory(dataset, seed) for seed in settings.seeds) for pair in pairs
    ]
    shards = ImageShards(folder, {"generator": digest(system.content), "batch_size": settings.batch_size})
    plan = plan_shards(requests, shards, settings.batch_size)
    distributed.call_on_all(draw_share, system, settings.batch_size, plan, shards)
    shards.refresh()
    manifest = shards.write_manifest(shards.ids)
    print(f"{len(requests):,} pictures asked for, {len(shards):,} there: {manifest} says which is whose")
    return shards
