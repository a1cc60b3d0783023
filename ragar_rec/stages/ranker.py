"""A trained ranker: made of a catalogue, one features stage and RecBole's settings. It rewards, and it judges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch

from ragar_rec.evaluation.controls import ItemFeatures
from ragar_rec.evaluation.reward import RankerReward
from ragar_rec.stages.catalogue import Catalogue
from ragar_rec.stages.features import Features
from ragar_rec.stages.replaced import ReplacedFeatures
from ragar_rec.stages.stage import Stage
from ragar_rec.store.hashing import hash_file
from ragar_rec.store.store import content_of
from recsys.features import FeatureTable
from recsys.recbole.checkpoint import INCIDENTAL, WEIGHTS
from recsys.recbole.dataset import Dataset
from recsys.recbole.registry import PICTURE_READERS, code_of, is_own, own_defaults, reads_pictures
from recsys.recbole.training import TrainedRanker, load_ranker, train_ranker
from recsys.scoring.counterfactual import Counterfactual


@dataclass(frozen=True, eq=False)
class Ranker(Stage):
    """A ranker by RecBole. Where it is trained is no part of its key; the code of one of your own is.

    Attributes:
        catalogue: whose interactions.
        features: what it knows of items.
        settings: RecBole's keys, ``model`` and ``dataset`` among them.
    """

    name: ClassVar[str] = "ranker"
    resumable: ClassVar[bool] = True
    catalogue: Catalogue
    features: Features | ReplacedFeatures
    settings: Mapping[str, Any]

    @property
    def key(self) -> dict[str, Any]:
        """Without RecBole's keys that say where and how fast; with the code of a ranker of one's own."""
        settings = {name: value for name, value in self.settings.items() if name not in INCIDENTAL}
        code = code_of(self.settings["model"])
        return super().key | {"settings": settings} | ({"code": hash_file(code)} if code else {})

    def check_gradient(self) -> None:
        """Raise ValueError if its scores have no gradient in pictures, before it is trained."""
        model: str = self.settings["model"]
        if {**own_defaults(model), **self.settings}.get("edge_weights") == "unit":
            raise ValueError(
                f"reflection.objective path needs a score with a gradient, and {model}'s has none under edge_weights "
                "unit: write --edge_weights=cosine, or --reflection.objective=reinforce"
            )

    def build(self, to: Path) -> None:
        train_ranker(self.recbole, to, progress=self.workspace.progress)

    @cached_property
    def content(self) -> str:
        """Hash of its weights and settings; not of its history, in which the seconds differ between trainings."""
        return content_of(self.folder, WEIGHTS)

    @property
    def recbole(self) -> dict[str, Any]:
        """The complete RecBole configuration, with the paths of data and features."""
        features = {modality: str(self.features.file(modality)) for modality in self.features.modalities}
        return {**self.settings, "data_path": str(self.catalogue.folder), "features": features}

    @property
    def label(self) -> str:
        """The ranker and its image encoder by name, as results show a judge: ``MICRO on dual``."""
        return f"{self.settings['model']} on {self.features.encoder.name}"

    @cached_property
    def trained(self) -> TrainedRanker:
        """The ranker with its best weights, on the CPU, where the reward lives."""
        return load_ranker({**self.recbole, "use_gpu": False}, self.folder)

    @property
    def dataset(self) -> Dataset:
        """Interactions as numbered and split for this ranker."""
        return self.trained.dataset

    @cached_property
    def view(self) -> Counterfactual:
        """Scores of items under other image features."""
        return Counterfactual(self.trained.ranker)

    @cached_property
    def reward(self) -> RankerReward:
        """The counterfactual score as a reward of pictures (eq. 10).

        Raises:
            ValueError: there are no image features, or they were made elsewhere: new pictures cannot be encoded.
        """
        features = self.features
        encoder = features.encoder  # first, as its sentence says more than that of a ranker without images
        return RankerReward(self.view, self.dataset, encoder, features.mean, features.whitening)

    @cached_property
    def original_features(self) -> ItemFeatures:
        """Image features of every item by internal id."""
        tokens = [str(token) for token in self.dataset.item_tokens]
        values, present = FeatureTable.read(self.features.file("image")).align(tokens)
        return ItemFeatures(torch.from_numpy(values), torch.from_numpy(present))


def check_reads_pictures(settings: Mapping[str, Any]) -> None:
    """Check that a ranker's scores change with pictures, as those of a reward and a judge must.

    Args:
        settings: RecBole's keys.

    Raises:
        ValueError: they do not; the rankers whose scores do are named.
    """
    model: str = settings["model"]
    if not reads_pictures(model):
        reason = "has no method `frozen`, which replaces pictures" if is_own(model) else "scores without pictures"
        raise ValueError(
            f"model {model} {reason}, so it cannot say which picture a person would like better: take "
            f"{', '.join(PICTURE_READERS)} (--model=MICRO). `train-ranker` trains and measures {model} all the same"
        )
    if settings.get("train_features"):
        raise ValueError(
            f"train_features moves {model}'s features away from the pictures that they came from, so it cannot "
            "judge new ones: leave it out, or write --train_features=false"
        )
