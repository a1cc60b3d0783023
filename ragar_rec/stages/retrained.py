"""The protocol `catalogue`: pictures of every item for its audience, features of them, and rankers trained on these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from generation.encoders.encoder import encode_in_blocks
from generation.request import Request
from ragar_rec.config.sections import EvaluationConfig
from ragar_rec.evaluation.audience import audience_requests, exchanged_audiences, own_audiences
from ragar_rec.evaluation.per_user import COLUMNS, OWN, read_per_user, write_per_user
from ragar_rec.evaluation.retrained import retrained_values
from ragar_rec.evaluation.reward import normalise
from ragar_rec.stages.drawn import PictureStage
from ragar_rec.stages.everybody import EverybodyPictures, EverybodySystem
from ragar_rec.stages.features import Features
from ragar_rec.stages.item_pictures import NoisePictures, PictureSource, Reconstructions
from ragar_rec.stages.item_sets import CatalogueItems
from ragar_rec.stages.ranker import Ranker
from ragar_rec.stages.replaced import ReplacedFeatures
from ragar_rec.stages.shuffled import PartlyShuffledFeatures, ShuffledFeatures
from ragar_rec.stages.stage import Stage
from ragar_rec.stages.system import System
from recsys.features import FeatureTable
from recsys.recbole.keys import SEED


@dataclass(frozen=True, eq=False)
class CataloguePictures(PictureStage):
    """Pictures of a catalogue's items, each made for people of the item's audience (`evaluation.audience`).

    Attributes:
        system: who draws.
        ranker: whose training interactions say who the audience is, and whose scores do where nobody interacted.
        items: of what.
        audience: people an item.
        exchanged: whether each item is drawn for the audience of another item, as `shuffled_user` asks.
        seed: of pictures and audiences.
        batch: pictures that are drawn at a time.
    """

    name: ClassVar[str] = "catalogue-images"
    ranker: Ranker
    items: CatalogueItems
    audience: int
    exchanged: bool
    seed: int
    batch: int

    @property
    def seeds(self) -> tuple[int, ...]:
        return (self.seed,)

    @property
    def batch_size(self) -> int:
        return self.batch

    def requests(self) -> list[Request]:
        """A request for each person of each item's audience."""
        dataset, view = self.ranker.dataset, self.ranker.view
        known = set(map(str, dataset.item_tokens))  # RecBole's filters may leave items out
        items = [dataset.item_id(item) for item in self.items.ids if item in known]
        audiences = own_audiences(dataset, items, self.audience, self.seed, view.scores)
        if self.exchanged:
            audiences = exchanged_audiences(dataset, audiences, self.seed)
        return audience_requests(dataset, audiences, self.seed)


@dataclass(frozen=True, eq=False)
class RegeneratedFeatures(ReplacedFeatures):
    """The features of a catalogue with those of new pictures in the rows of images.

    New pictures are whitened by the map of the old ones; then the catalogue's mean is removed again, as it has moved.
    An item with several new pictures has the mean of their features, one without any keeps its own.

    Attributes:
        features: the items' own.
        source: the new pictures.
    """

    name: ClassVar[str] = "regenerated-features"
    source: PictureSource

    def build(self, to: Path) -> None:
        old, model = self.features, self.encoder
        table = FeatureTable.read(old.file("image"))
        row_of = {item: row for row, item in enumerate(table.ids)}
        values, sums = torch.from_numpy(table.values.copy()), torch.zeros(table.values.shape)
        counts = torch.zeros(len(table.ids))
        for ids, images in self.source.blocks():
            rows = torch.tensor([row_of[item] for item in ids])
            features = normalise(encode_in_blocks(model, images).to(old.mean), old.mean, old.whitening)
            sums.index_add_(0, rows, features)
            counts.index_add_(0, rows, torch.ones(len(ids)))
        new = counts > 0
        values[new] = sums[new] / counts[new, None]
        pictured = values.any(dim=1)
        shift = values[pictured].mean(0)
        values[pictured] -= shift
        FeatureTable(table.ids, values.numpy()).write(to / "image.safetensors")
        # The mean of raw features that has the same effect: the map's columns are independent.
        moved = shift if old.whitening is None else shift @ torch.linalg.pinv(old.whitening)
        save_file({"mean": old.mean + moved}, to / "mean.safetensors")

    @property
    def mean(self) -> Tensor:
        """The mean that new pictures lose, shape (dim,)."""
        return load_file(self.folder / "mean.safetensors")["mean"]


@dataclass(frozen=True, eq=False)
class CatalogueResults(Stage):
    """The per-user frame of the protocol `catalogue` under one judge: the judge, trained anew on other pictures.

    Attributes:
        system: its name in the frame.
        judge: its name in the frame.
        rankers: by control, one for each seed.
        seeds: the rankers' seeds, as so much above the config's: `training_seed` of the frame.
        seed: of the pictures.
        k: length of the list.
    """

    name: ClassVar[str] = "catalogue-results"
    system: str
    judge: str
    rankers: Mapping[str, tuple[Ranker, ...]]
    seeds: tuple[int, ...]
    seed: int
    k: int

    def build(self, to: Path) -> None:
        rows = [
            (user, self.system, "catalogue", control, self.judge, training_seed, self.seed, metric, value)
            for control, rankers in self.rankers.items()
            for training_seed, ranker in zip(self.seeds, rankers, strict=True)
            # A copy, which goes with its tables: two dozen loaded rankers need not fit into memory.
            for user, metric, value in retrained_values(replace(ranker).trained, self.k)
        ]
        write_per_user(pd.DataFrame(rows, columns=pd.Index(COLUMNS)), to / "per_user.parquet")

    @property
    def drawings(self) -> list[PictureStage]:
        """The pictures that a generator draws for these rankers."""
        features = [rankers[0].features for rankers in self.rankers.values()]
        sources = [table.source for table in features if isinstance(table, RegeneratedFeatures)]
        return [source for source in sources if isinstance(source, PictureStage)]

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One value for each user, control, seed of the ranker and metric."""
        return read_per_user(self.folder / "per_user.parquet")


@dataclass(frozen=True, eq=False)
class CatalogueTrial:
    """The stages of the protocol `catalogue` for one system.

    Attributes:
        system: who draws.
        settings: controls, audiences, seeds of the pictures.
        seeds: seeds of the rankers, as so much above the config's, with what each adds to the judge's own.
        everybody: the system without the person, for the control of this name.
    """

    system: System
    settings: EvaluationConfig
    seeds: Mapping[int, int]
    everybody: EverybodySystem | None = None

    @cached_property
    def items(self) -> CatalogueItems:
        """Whose pictures are replaced."""
        return CatalogueItems(
            self.system.workspace, self.system.pictures, self.settings.catalogue_items, self.settings.seeds[0]
        )

    @cached_property
    def sources(self) -> Mapping[str, PictureSource]:
        """New pictures by control: those that are drawn, and those that are the same for every user."""
        system, settings, space, items = self.system, self.settings, self.system.workspace, self.items
        seed, batch = settings.seeds[0], settings.batch_size
        own = CataloguePictures(space, system, system.ranker, items, settings.audience, False, seed, batch)
        sources: dict[str, PictureSource] = {
            OWN: own,
            "shuffled_user": replace(own, exchanged=True),
            "noise": NoisePictures(space, items, seed),
        }
        if system.reconstruct is not None:
            sources["reconstruction"] = Reconstructions(space, items, system)
        if self.everybody is not None:
            sources["everybody"] = EverybodyPictures(space, self.everybody, items, (seed,), batch)
        return {name: source for name, source in sources.items() if name in (OWN, *settings.controls)}

    def results(self, name: str, judge: Ranker) -> CatalogueResults:
        """The judge, trained with every seed on its own pictures and on those of every source.

        Args:
            name: the judge's in the frame.
            judge: a ranker on the items' own features.
        """
        space, settings, features = judge.workspace, self.settings, judge.features
        assert isinstance(features, Features)
        tables: dict[str, Callable[[int], Features | ReplacedFeatures]] = {
            "original": lambda permutation: features,
            "random_item": lambda permutation: self._shuffled(features, permutation),
        }
        for control, source in self.sources.items():
            regenerated = RegeneratedFeatures(space, features, source)
            tables[control] = lambda permutation, regenerated=regenerated: regenerated
        rankers = {
            control: tuple(_with(judge, tables[control](seed), more) for seed, more in self.seeds.items())
            for control in (OWN, *settings.controls)
            if control in tables
        }
        seeds, seed = tuple(self.seeds), settings.seeds[0]
        return CatalogueResults(space, self.system.label, name, rankers, seeds, seed, settings.k)

    def _shuffled(self, features: Features, permutation: int) -> ShuffledFeatures:
        """The old pictures permuted among the items that have new ones; each seed of the ranker sees another order."""
        space = features.workspace
        if not self.settings.catalogue_items:
            return ShuffledFeatures(space, features, permutation)
        return PartlyShuffledFeatures(space, features, permutation, self.items)


def _with(judge: Ranker, features: Features | ReplacedFeatures, more: int) -> Ranker:
    """The judge on these features, its seed so much higher; by 0 on its own ones it is the judge itself."""
    if not more:
        return replace(judge, features=features)
    settings = {**judge.settings, "seed": int(judge.settings.get("seed", SEED)) + more}
    return replace(judge, features=features, settings=settings)
