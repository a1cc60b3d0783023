"""Features of the catalogue for a ranker: image features by one encoder, text features, or tables made elsewhere.

There may be any number of modalities, one at least; those other than image and text come as tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm.auto import tqdm

from generation.encoders.encoder import ImageEncoder, encode_in_blocks
from generation.encoders.hog import HogEncoder
from generation.encoders.own import check_encoder, load_encoder
from generation.encoders.timm import TimmEncoder
from generation.pictures import read_pictures
from generation.plugins import code_of
from generation.settings import INCIDENTAL
from ragar_rec.evaluation.reward import normalise
from ragar_rec.stages.catalogue import Catalogue, Pictures
from ragar_rec.stages.models import DualEncoder
from ragar_rec.stages.stage import Keyed, Stage
from ragar_rec.store.fingerprint import fingerprint
from ragar_rec.store.hashing import hash_file, hash_files
from recsys.feature_files import feature_files
from recsys.features import FeatureTable, in_order, text_features
from recsys.whitening import whitening_map

WHITENING = "whitening.safetensors"
"""File of the whitening map, beside the tables."""
BLOCK = 64
"""Pictures that are encoded at a time."""


@dataclass(frozen=True, eq=False)
class DualPictureEncoder(Keyed):
    """The dual encoder, which sees pictures at the generator's size."""

    pictures: Pictures
    encoder: DualEncoder

    @property
    def model(self) -> ImageEncoder:
        """The loaded encoder."""
        return self.encoder.model

    def read(self, rows: list[int]) -> Tensor:
        """Pictures of some items at the generator's size."""
        return self.pictures.images[rows]


@dataclass(frozen=True, eq=False)
class FilePictureEncoder(Keyed):
    """An encoder that reads the pictures' own files, at a size of its own.

    Attributes:
        pictures: of the catalogue.
        encoder: ``hog``, timm's name of a model, or ``package.module:name`` of the user's own.
        height: in pixels.
        width: in pixels.
        weights: the file of timm's model; None for the others.
    """

    pictures: Pictures
    encoder: str
    height: int
    width: int
    weights: Path | None

    @property
    def key(self) -> dict[str, Any]:
        """Also the files, as a pixel may differ in them that is lost in the small pictures, and the user's code."""
        code = code_of(self.encoder) if ":" in self.encoder else None
        files = {"files": self.pictures.catalogue.pictures_hash}
        return super().key | files | ({"code": hash_file(code)} if code else {})

    @property
    def model(self) -> ImageEncoder:
        """The loaded encoder. It cannot be set: features by another would stand under this one's key."""
        return self._model

    @cached_property
    def _model(self) -> ImageEncoder:
        size = (self.height, self.width)
        if self.encoder == "hog":
            return HogEncoder(size)
        if self.weights is None:
            return load_encoder(self.encoder, size)
        return TimmEncoder.from_pretrained(self.encoder, self.weights.parent.parent, size=size)

    def read(self, rows: list[int]) -> Tensor:
        """Pictures of some items at this encoder's size."""
        return read_pictures([self.pictures.items[row] for row in rows], (self.height, self.width), self.pictures.fit)


@dataclass(frozen=True, eq=False)
class ObjectPictureEncoder(Keyed):
    """An image encoder that was built in Python; it reads the pictures' own files.

    Attributes:
        pictures: of the catalogue.
        model: the encoder, which counts by its class, its code and its state (:func:`fingerprint`).
        height: in pixels.
        width: in pixels.

    Raises:
        ValueError: the object is no image encoder, or its state cannot be hashed.
    """

    pictures: Pictures
    model: ImageEncoder = field(metadata=INCIDENTAL)
    height: int
    width: int

    def __post_init__(self) -> None:
        check_encoder(self.model, "image_encoder")

    @property
    def key(self) -> dict[str, Any]:
        """Also the encoder's fingerprint and the files."""
        return super().key | {"model": fingerprint(self.model), "files": self.pictures.catalogue.pictures_hash}

    def read(self, rows: list[int]) -> Tensor:
        """Pictures of some items at this encoder's size."""
        return read_pictures([self.pictures.items[row] for row in rows], (self.height, self.width), self.pictures.fit)


PictureEncoder = DualPictureEncoder | FilePictureEncoder | ObjectPictureEncoder
"""An image encoder together with the form in which it sees a catalogue's pictures."""


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


@dataclass(frozen=True, eq=False)
class Features(Stage):
    """A feature table for each modality, keyed by item token.

    The catalogue's mean is removed from image features unless they were made elsewhere and are not whitened.

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
    text: TextFeatures | FeatureFile | None
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
                    self._write_image_features(ids, torch.from_numpy(table.values[rows]), to)
                else:
                    table.write(to / f"{modality}.safetensors")
            elif isinstance(source, TextFeatures):
                text_features(self.catalogue.rows, source.dim, seed=0).write(to / "text.safetensors")
            elif source is not None:
                pictures = source.pictures
                ids = tuple(pictures.items[row].id for row in pictures.pictured_rows)
                self._write_image_features(ids, _encoded(source, progress=self.workspace.progress), to)

    def _write_image_features(self, ids: tuple[str, ...], raw: Tensor, to: Path) -> None:
        """Remove the mean, whiten if asked for, and write the table with what new pictures need."""
        mean = raw.mean(0)
        save_file({"mean": mean}, to / "mean.safetensors")
        whitening = None
        if self.whiten is not False:
            try:
                whitening = torch.from_numpy(whitening_map((raw - mean).numpy(), self.whiten))
            except ValueError as error:
                raise ValueError(f"features.whiten: {error}") from error
            save_file({"map": whitening}, to / WHITENING)
        FeatureTable(ids, normalise(raw, mean, whitening).numpy()).write(to / "image.safetensors")

    def file(self, modality: str) -> Path:
        """The table of one modality."""
        return self.folder / f"{modality}.safetensors"

    @property
    def encoder(self) -> ImageEncoder:
        """The image encoder, for new pictures.

        Raises:
            ValueError: there are no image features, or they were made elsewhere, so that no new picture can be judged
                by them.
        """
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
        return self.image.model

    @cached_property
    def mean(self) -> Tensor:
        """The catalogue's mean image feature, shape (dim,)."""
        return load_file(self.folder / "mean.safetensors")["mean"]

    @cached_property
    def whitening(self) -> Tensor | None:
        """The whitening map of image features, shape (dim, components); None if they are not whitened."""
        return None if self.whiten is False else load_file(self.folder / WHITENING)["map"]


def _encoded(encoder: PictureEncoder, *, progress: bool) -> Tensor:
    """Image features of all items that have a picture, shape (pictured, dim)."""
    rows, parts = encoder.pictures.pictured_rows, []
    for start in tqdm(range(0, len(rows), BLOCK), desc="image features", unit="batch", disable=not progress):
        block = encoder.read(rows[start : start + BLOCK])
        parts.append(_checked(encode_in_blocks(encoder.model, block), encoder.model, len(block)))
    return torch.cat(parts)


def _checked(features: Tensor, encoder: ImageEncoder, n: int) -> Tensor:
    """The features of ``n`` pictures, which an encoder of the user's own may have made.

    Raises:
        ValueError: they are not ``encoder.dim`` finite numbers a picture.
    """
    if features.shape != (n, encoder.dim):
        raise ValueError(
            f"the image encoder {encoder.name} gave features of shape {tuple(features.shape)} for {n} pictures; its "
            f"dim is {encoder.dim}, so it must give ({n}, {encoder.dim})"
        )
    if bad := int((~torch.isfinite(features)).sum()):
        raise ValueError(f"the image encoder {encoder.name} gave {bad} values that are not finite numbers")
    return features
