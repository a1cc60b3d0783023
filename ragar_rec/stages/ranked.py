"""The ranker of a run: features of the catalogue, the trained ranker, and the reward that it gives."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from generation.encoders.encoder import ImageEncoder, encode_in_blocks
from generation.encoders.hog import HogEncoder
from generation.encoders.timm import TimmEncoder
from generation.gallery import read_pictures
from ragar_rec.evaluation.controls import Table
from ragar_rec.evaluation.reward import RankerReward
from ragar_rec.stages.small_models import SmallModels
from ragar_rec.store.hashing import hash_file, hash_files
from ragar_rec.store.store import content, content_of
from recsys.catalog import Catalog
from recsys.feature_files import feature_files
from recsys.features import FeatureTable, text_features
from recsys.recbole.checkpoint import INCIDENTAL, WEIGHTS
from recsys.recbole.dataset import Dataset
from recsys.recbole.registry import code_of
from recsys.recbole.training import TrainedRanker, load_ranker, train_ranker
from recsys.scoring.counterfactual import Counterfactual

MODALITIES = ("image", "text")


class Ranked(SmallModels):
    """The stages ``features`` and ``ranker``."""

    @cached_property
    def image_encoder(self) -> ImageEncoder:
        """Whose features the ranker reads.

        Raises:
            ValueError: the image features were made elsewhere, so that no new picture can be judged by them.
        """
        features = self.config.features
        if "image" in self.given_features:
            raise ValueError(
                f"the image features in {self.given_features['image']} were made elsewhere: rankers can be trained on "
                "them, but new pictures cannot be encoded; let features.image_encoder make them"
            )
        if features.image_encoder == "dual":
            return self.encoder
        size = (features.image_height, features.image_width)
        if features.image_encoder == "hog":
            return HogEncoder(size)
        file = self.weights_file(features.image_encoder)
        return TimmEncoder.from_pretrained(features.image_encoder, file.parent.parent, size=size)

    @cached_property
    def given_features(self) -> dict[str, Path]:
        """Feature tables made elsewhere, by modality: those of the data set (MMRec's), then those of the config."""
        brought = {name: self._catalog_file.with_name(f"{name}.safetensors") for name in MODALITIES}
        named = {name: getattr(self.config.features, name) for name in MODALITIES}
        return {name: file for name, file in brought.items() if file.is_file()} | {
            name: self._named(file) for name, file in named.items() if file is not None
        }

    def _named(self, file: str) -> Path:
        """A file that the config names: in the data folder if it is there, else as seen from the working directory."""
        in_data = Path(file) if self.data is None else self.data / file
        return in_data if in_data.is_file() else Path(file)

    @cached_property
    def features_folder(self) -> Path:
        """Image features (the catalogue's mean removed, unless they were made elsewhere) and text features."""
        given = self.given_features

        def build(to: Path) -> None:
            for name, file in given.items():
                FeatureTable.read(file).write(to / f"{name}.safetensors")
            if "image" not in given:
                have = self._have
                raw = self._encode_catalogue(have)
                mean = raw.mean(0)
                save_file({"mean": mean}, to / "mean.safetensors")
                ids = tuple(self.items[row].id for row in have)
                FeatureTable(ids, (raw - mean).numpy()).write(to / "image.safetensors")
            if "text" not in given:
                words = text_features(Catalog.read(self._catalog_file), self.config.features.text_dim, seed=0)
                words.write(to / "text.safetensors")

        before = self._words | {f"given {name}": hash_files(feature_files(file)) for name, file in given.items()}
        before |= {} if "image" in given else self._seen
        # What was made elsewhere counts by its content, wherever it lies.
        config = {"features": asdict(replace(self.config.features, image=None, text=None))}
        return self.store.run("features", {"config": config, "before": before}, build)

    @property
    def _seen(self) -> dict[str, str]:
        """Contents of what the image encoder's features depend on."""
        before, encoder = {"pictures": content(self.pictures_folder)}, self.config.features.image_encoder
        if encoder == "dual":
            before["encoder"] = self.given.get("encoder") or content(self.encoder_folder)
        else:  # it reads the files themselves, in which a pixel may differ that is lost in the small pictures
            before["files"] = self._files_hash
        if encoder not in ("dual", "hog"):
            before["weights"] = hash_file(self.weights_file(encoder))
        return before

    def _encode_catalogue(self, have: list[int]) -> Tensor:
        from tqdm.auto import tqdm

        features, parts = self.config.features, []
        same, size = features.image_encoder == "dual", (features.image_height, features.image_width)
        for start in tqdm(range(0, len(have), 64), desc="image features", unit="batch", disable=not self.progress):
            rows = have[start : start + 64]
            pictures = self.images[rows] if same else read_pictures([self.items[row] for row in rows], size)
            parts.append(encode_in_blocks(self.image_encoder, pictures))
        return torch.cat(parts)

    @cached_property
    def recbole(self) -> dict[str, Any]:
        """The ranker's RecBole configuration, complete."""
        features = {name: str(self.features_folder / f"{name}.safetensors") for name in MODALITIES}
        return {**self.config.recbole, "data_path": str(self.data_folder), "features": features}

    @cached_property
    def ranker_folder(self) -> Path:
        """The trained ranker; where it was trained is no part of the key, the code of one of your own is."""
        before = {"data": content(self.data_folder), "features": content(self.features_folder)}
        if code := code_of(self.config.recbole["model"]):
            before["code"] = hash_file(code)
        settings = {key: value for key, value in self.config.recbole.items() if key not in INCIDENTAL}
        return self.store.run(
            "ranker",
            {"config": {"recbole": settings}, "before": before},
            lambda to: train_ranker(self.recbole, to, progress=self.progress) and None,
            resumable=True,
        )

    @property
    def ranker_content(self) -> str:
        """Of its weights and settings; not of its history, in which the seconds differ from training to training."""
        return content_of(self.ranker_folder, WEIGHTS)

    @cached_property
    def ranker(self) -> TrainedRanker:
        """On the CPU, where the reward lives."""
        return load_ranker({**self.recbole, "use_gpu": False}, self.ranker_folder)

    @property
    def dataset(self) -> Dataset:
        return self.ranker.dataset

    @cached_property
    def view(self) -> Counterfactual:
        return Counterfactual(self.ranker.ranker)

    @cached_property
    def mean_feature(self) -> Tensor:
        return load_file(self.features_folder / "mean.safetensors")["mean"]

    @cached_property
    def reward(self) -> RankerReward:
        return RankerReward(self.view, self.dataset, self.image_encoder, self.mean_feature)

    @property
    def judge(self) -> str:
        """The ranker and the encoder that judge, by name."""
        return f"{self.config.recbole['model']} on {self.image_encoder.name}"

    @property
    def name(self) -> str:
        """The data set as shown, with the notice where its pictures are rendered."""
        dataset = self.dataset_name
        return f"{dataset} (rendered covers)" if self.config.catalog.preparer == "ml-100k" else dataset

    @cached_property
    def original_features(self) -> Table:
        """Image features of every item by internal id."""
        values, there = FeatureTable.read(self.features_folder / "image.safetensors").align(
            [str(token) for token in self.dataset.item_tokens]
        )
        return Table(torch.from_numpy(values), torch.from_numpy(there))
