"""Image encoders as objects with a key, each with the form in which it sees a catalogue's pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from generation.encoders.color_layout import ColorLayoutEncoder
from generation.encoders.concatenated import ConcatenatedEncoder
from generation.encoders.encoder import ImageEncoder, encode_in_blocks
from generation.encoders.hog import HogEncoder
from generation.encoders.own import check_encoder, load_encoder
from generation.encoders.timm import TimmEncoder
from generation.plugins import code_of
from generation.settings import INCIDENTAL
from ragar_rec.stages.catalogue import Pictures
from ragar_rec.stages.models import DualEncoder
from ragar_rec.stages.stage import Keyed
from ragar_rec.store.fingerprint import fingerprint
from ragar_rec.store.hashing import hash_file

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
        encoder: ``hog``, ``color_layout``, the name of a model, or ``package.module:name`` of the user's own.
        height: in pixels.
        width: in pixels.
        weights: the model's file; None for the others.
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
        return super().key | self.pictures.file_key | ({"code": hash_file(code)} if code else {})

    @property
    def model(self) -> ImageEncoder:
        """The loaded encoder. It cannot be set: features by another would stand under this one's key."""
        return self._model

    @cached_property
    def _model(self) -> ImageEncoder:
        size = (self.height, self.width)
        if self.encoder == "hog":
            return HogEncoder(size)
        if self.encoder == "color_layout":
            return ColorLayoutEncoder()
        if self.weights is None:
            return load_encoder(self.encoder, size)
        if self.encoder == "efficientnet_lite0":
            return TimmEncoder.efficientnet_lite0(self.weights, size=size)
        return TimmEncoder.from_pretrained(self.encoder, self.weights.parent.parent, size=size)

    def read(self, rows: list[int]) -> Tensor:
        """Pictures of some items at this encoder's size."""
        return self.pictures.read(rows, (self.height, self.width))


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
        check_encoder(self.model)

    @property
    def key(self) -> dict[str, Any]:
        """Also the encoder's fingerprint and the files."""
        return super().key | {"model": fingerprint(self.model)} | self.pictures.file_key

    def read(self, rows: list[int]) -> Tensor:
        """Pictures of some items at this encoder's size."""
        return self.pictures.read(rows, (self.height, self.width))


SinglePictureEncoder = DualPictureEncoder | FilePictureEncoder | ObjectPictureEncoder


@dataclass(frozen=True, eq=False)
class SeveralPictureEncoders(Keyed):
    """Encoders whose features stand side by side; each reads the pictures in its own form."""

    parts: tuple[SinglePictureEncoder, ...]

    @property
    def pictures(self) -> Pictures:
        """Of the catalogue."""
        return self.parts[0].pictures

    @property
    def model(self) -> ConcatenatedEncoder:
        """The loaded encoders as one."""
        return ConcatenatedEncoder([part.model for part in self.parts])


EncoderChoice = str | ImageEncoder | Sequence[str | ImageEncoder]
"""An image encoder by name or as an object, or several."""
PictureEncoder = SinglePictureEncoder | SeveralPictureEncoders
"""An image encoder together with the form in which it sees a catalogue's pictures."""


def encode_pictures(encoder: SinglePictureEncoder, *, progress: bool) -> Tensor:
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
