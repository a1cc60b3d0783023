"""New pictures of items that no user has a part in: their own through a codec, and noise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from tqdm.auto import tqdm

# Before Python 3.12 isinstance with a protocol of `typing` evaluates every property, and so would draw the pictures.
from typing_extensions import Protocol, runtime_checkable

from ragar_rec.augment import encode_images
from ragar_rec.evaluation.controls import ItemFeatures, noise_pictures
from ragar_rec.stages.catalogue import Pictures
from ragar_rec.stages.item_sets import CatalogueItems
from ragar_rec.stages.ranker import Ranker
from ragar_rec.stages.stage import Keyed
from ragar_rec.stages.system import System

BLOCK = 64
"""Pictures that are made at a time."""

Blocks = Iterable[tuple[Sequence[str], Tensor]]
"""Ids of items with their pictures, (n, 3, height, width) in [0, 1]."""


@runtime_checkable
class PictureSource(Protocol):
    """New pictures of items; also a :class:`ragar_rec.stages.stage.Keyed`."""

    @cached_property
    def content(self) -> str:
        """Hash of everything that the pictures depend on."""
        ...

    def blocks(self) -> Blocks:
        """Items with their new pictures; an item with several comes as often."""
        ...


@dataclass(frozen=True, eq=False)
class Reconstructions(Keyed):
    """The own pictures of a catalogue's items through a system's codec and back."""

    items: CatalogueItems
    system: System

    def blocks(self) -> Blocks:
        """Items with their reconstructed pictures."""
        return reconstructed(self.system, self.items.ids)


@dataclass(frozen=True, eq=False)
class NoisePictures(Keyed):
    """Uniform noise in place of the pictures of a catalogue's items."""

    items: CatalogueItems
    seed: int

    def blocks(self) -> Blocks:
        """Items with noise."""
        return noise(self.items.pictures, self.items.ids, self.seed)


def reconstructed(system: System, ids: Sequence[str]) -> Iterator[tuple[Sequence[str], Tensor]]:
    """The own pictures of items through a system's codec and back.

    Raises:
        ValueError: the system has no codec.
    """
    if (reconstruct := system.reconstruct) is None:
        raise ValueError(f"{system.label} has no codec, through which pictures could be reconstructed")
    for block in _split(ids):
        yield block, reconstruct(block)


def noise(pictures: Pictures, ids: Sequence[str], seed: int) -> Iterator[tuple[Sequence[str], Tensor]]:
    """Uniform noise of the size of a catalogue's pictures, for each of these items."""
    for block in _split(ids):
        yield block, noise_pictures(block, pictures.size, seed)


def item_features(judge: Ranker, blocks: Blocks, description: str) -> ItemFeatures:
    """A judge's features of new pictures by internal item id; items without a new picture have none."""
    original = judge.original_features
    table, present = torch.zeros_like(original.table), torch.zeros_like(original.present)
    bar = tqdm(blocks, desc=f"features: {description}", unit="batch", disable=not judge.workspace.progress)
    for ids, images in bar:
        items = [judge.dataset.item_id(item) for item in ids]
        table[items] = encode_images(judge.reward, images, progress=False)
        present[items] = True
    return ItemFeatures(table, present)


def _split(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + BLOCK] for start in range(0, len(ids), BLOCK))
