"""Features of the catalogue for a ranker: image features by one encoder, text features, or tables made elsewhere.

There may be any number of modalities, one at least; those other than image and text come as tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from generation.encoders.encoder import ImageEncoder
from generation.encoders.sentences import SentenceEncoder
from ragar_rec.evaluation.reward import normalise
from ragar_rec.stages.catalogue import Catalogue
from ragar_rec.stages.picture_encoders import PictureEncoder, SeveralPictureEncoders, encode_pictures
from ragar_rec.stages.stage import Keyed, Stage
from ragar_rec.stages.weights import Weights
from ragar_rec.store.hashing import hash_files
from recsys.feature_files import feature_files
from recsys.features import FeatureTable, in_order, text_features
from recsys.whitening import whitening_map

WHITENING = "whitening.safetensors"
"""File of the map of image features, beside the tables."""


@dataclass(frozen=True, eq=False)
class FeatureFile(Keyed):
    """A feature table that was made elsewhere. It counts by its content, wherever it lies."""

    file: Path

    @property
    def key(self) -> dict[str, Any]:
        """The hash of the table and of what lies beside it."""
        return {"table": hash_files(feature_files(self.file))}


@dataclass(frozen=True, eq=False)
class TextFeatures(Keyed):
    """TF-IDF of the items' texts, reduced to ``dim`` dimensions."""

    catalogue: Catalogue
    dim: int

    def table(self) -> FeatureTable:
        """A row for each item that has words."""
        return text_features(self.catalogue.rows, self.dim, seed=0)


@dataclass(frozen=True, eq=False)
class SentenceFeatures(Keyed):
    """The items' texts by a sentence encoder, unit vectors."""

    catalogue: Catalogue
    weights: Weights

    def table(self) -> FeatureTable:
        """A row for each item that has a text.

        Raises:
            ValueError: no item has any.
        """
        items = [item for item in self.catalogue.rows if item.text]
        if not items:
            raise ValueError("no item of the catalogue has a title, tags or a description; text features need some")
        encoder = SentenceEncoder.from_pretrained(self.weights.path)
        features = encoder.encode_texts([item.text for item in items])
        return FeatureTable(tuple(item.id for item in items), features.numpy())


@dataclass(frozen=True, eq=False)
class Features(Stage):
    """A feature table for each modality, keyed by item token.

    The catalogue's mean is removed from image features unless they were made elsewhere and are not whitened. Where
    several encoders make them, each one's part is brought to mean squared norm 1 of its own.

    Attributes:
        catalogue: whose items.
        image: who encodes the pictures, or a table; None if the data set has no such modality.
        text: how texts become features, or a table; None likewise.
        others: the tables of further modalities by name.
        whiten: number of components to which image features are PCA-whitened (`recsys.whitening`); False: they are not.
    """

    name: ClassVar[str] = "features"
    catalogue: Catalogue
    image: PictureEncoder | FeatureFile | None
    text: TextFeatures | SentenceFeatures | FeatureFile | None
    others: Mapping[str, FeatureFile] = field(default_factory=dict)
    whiten: int | Literal[False] = False

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities' names: image and text first, then the others by alphabet."""
        own = [name for name, source in (("image", self.image), ("text", self.text)) if source is not None]
        return (*own, *in_order(self.others))

    def build(self, to: Path) -> None:
        for modality, source in {"image": self.image, "text": self.text, **self.others}.items():
            if isinstance(source, FeatureFile):
                table = FeatureTable.read(source.file)
                if modality == "image" and self.whiten is not False:
                    # A row of zeros is an item without features: it is no sample of them and stays a hole.
                    rows = table.values.any(axis=1).nonzero()[0]
                    ids = tuple(table.ids[row] for row in rows)
                    self._write_image_features(ids, [torch.from_numpy(table.values[rows])], to)
                else:
                    table.write(to / f"{modality}.safetensors")
            elif isinstance(source, (TextFeatures, SentenceFeatures)):
                source.table().write(to / "text.safetensors")
            elif source is not None:
                pictures, progress = source.pictures, self.workspace.progress
                ids = tuple(pictures.items[row].id for row in pictures.pictured_rows)
                parts = source.parts if isinstance(source, SeveralPictureEncoders) else (source,)
                self._write_image_features(ids, [encode_pictures(part, progress=progress) for part in parts], to)

    def _write_image_features(self, ids: tuple[str, ...], parts: Sequence[Tensor], to: Path) -> None:
        """Remove the mean, whiten or scale if asked for, and write the table with what new pictures need.

        Args:
            ids: of the items.
            parts: features by each encoder, a row an item.
            to: the folder.
        """
        raw = torch.cat(list(parts), dim=1)
        mean = raw.mean(0)
        save_file({"mean": mean}, to / "mean.safetensors")
        mapped = None
        if self.whiten is not False or len(parts) > 1:
            # An encoder without a map of its own keeps its numbers; several need one scale.
            mapped = torch.block_diag(*[self._map(part - part.mean(0)) for part in parts])
            save_file({"map": mapped}, to / WHITENING)
        FeatureTable(ids, normalise(raw, mean, mapped).numpy()).write(to / "image.safetensors")

    def _map(self, centred: Tensor) -> Tensor:
        """The map of one encoder's features to mean squared norm 1: PCA whitening, or a scale alone.

        Raises:
            ValueError: the features vary in too few directions.
        """
        if self.whiten is False:
            scale = centred.square().sum(1).mean().sqrt()
            if not scale > 0:
                raise ValueError("one of features.image_encoder gives every picture the same features: leave it out")
            return torch.eye(centred.shape[1]) / scale
        try:
            return torch.from_numpy(whitening_map(centred.numpy(), self.whiten))
        except ValueError as error:
            raise ValueError(f"features.whiten: {error}") from error

    def file(self, modality: str) -> Path:
        """The table of one modality."""
        return self.folder / f"{modality}.safetensors"

    @property
    def encoder(self) -> ImageEncoder:
        """The image encoder, for new pictures.

        Raises:
            ValueError: see :meth:`check_new_pictures`.
        """
        return self._picture_encoder.model

    def check_new_pictures(self) -> None:
        """Check that new pictures can be encoded, without loading or training the encoder.

        Raises:
            ValueError: there are no image features, or they were made elsewhere, so that no new picture can be judged
                by them.
        """
        _ = self._picture_encoder

    @property
    def _picture_encoder(self) -> PictureEncoder:
        if self.image is None:
            raise ValueError(
                f"the features are {', '.join(self.modalities)}, without images: rankers can be trained on them, but "
                "new pictures cannot be judged; let features.image_encoder make image features"
            )
        if isinstance(self.image, FeatureFile):
            raise ValueError(
                f"the image features in {self.image.file} were made elsewhere: rankers can be trained on "
                "them, but new pictures cannot be encoded; let features.image_encoder make them"
            )
        return self.image

    @cached_property
    def mean(self) -> Tensor:
        """The catalogue's mean image feature, shape (dim,)."""
        return load_file(self.folder / "mean.safetensors")["mean"]

    @cached_property
    def whitening(self) -> Tensor | None:
        """The map of centred image features, shape (dim, components): whitening, or the scales of several encoders.

        None if features are only centred.
        """
        file = self.folder / WHITENING
        return load_file(file)["map"] if file.is_file() else None
