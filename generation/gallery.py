"""The gallery: a catalogue as the generator sees it, every picture, caption, feature and keyword at hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from generation.captions import Captioner, describe
from generation.encoders import OpenClipEncoder, encode_in_blocks
from generation.keywords import KeywordExtractor
from generation.pictures import load_images
from generation.request import Item


@runtime_checkable
class TextEncoder(Protocol):
    """Texts to unit vectors: the dual encoder, or :class:`generation.sentences.SentenceEncoder`."""

    def encode_texts(self, texts: Sequence[str]) -> Float[Tensor, "n dim"]:
        """One row a text."""
        ...


@dataclass(frozen=True)
class Gallery:
    """Row ``i`` of every table is item ``ids[i]``; an item without a picture has zeros there and ``pictured`` False."""

    ids: tuple[str, ...]
    images: UInt8[Tensor, "n 3 height width"]
    pictured: Bool[Tensor, " n"]
    captions: tuple[str, ...]
    keywords: tuple[tuple[str, ...], ...]
    semantic: Float[Tensor, "n words"]
    visual: Float[Tensor, "n dim"]

    def __post_init__(self) -> None:
        object.__setattr__(self, "_row", {item: row for row, item in enumerate(self.ids)})

    def rows(self, ids: Sequence[str]) -> Int[Tensor, " m"]:
        """Rows of items.

        Raises:
            KeyError: an item is not in the gallery.
        """
        try:
            return torch.tensor([self._row[item] for item in ids], dtype=torch.long)  # type: ignore[attr-defined]
        except KeyError as error:
            raise KeyError(f"item {error} is not in the gallery of {len(self.ids)} items") from None

    @property
    def mean_visual(self) -> Float[Tensor, " dim"]:
        """Mean feature of the pictures: cosines of raw features mislead, those of centred ones tell pictures apart.

        Zeros if there is no picture.
        """
        return self.visual[self.pictured].sum(0) / max(1, int(self.pictured.sum()))


def read_pictures(items: Sequence[Item], size: tuple[int, int]) -> UInt8[Tensor, "n 3 height width"]:
    """Pictures of the items that have one, zeros for the others, in order."""
    images = torch.zeros(len(items), 3, *size, dtype=torch.uint8)
    have = [row for row, item in enumerate(items) if item.image is not None]
    images[have] = load_images([items[row].image for row in have], size)  # type: ignore[misc]
    return images


def caption(items: Sequence[Item], images: UInt8[Tensor, "n 3 height width"], captioner: Captioner) -> tuple[str, ...]:
    """Captions of all items (``cap_i``); one without a picture is described by its words alone."""
    have = [row for row, item in enumerate(items) if item.image is not None]
    said = dict(zip(have, captioner([items[row] for row in have], images[have]), strict=True))
    return tuple(said.get(row) or describe(item) for row, item in enumerate(items))


def build_gallery(
    items: Sequence[Item], images: UInt8[Tensor, "n 3 height width"], captions: Sequence[str],
    extract: KeywordExtractor, encoder: OpenClipEncoder, semantic: TextEncoder | None = None,
) -> Gallery:  # fmt: skip
    """Semantic features of the captions (eq. 2), visual features of the pictures (eq. 4), keywords (eq. 6).

    ``encoder`` sees the pictures; it reads the captions too, unless ``semantic`` is given.
    """
    pictured = torch.tensor([item.image is not None for item in items], dtype=torch.bool)
    visual = torch.zeros(len(items), encoder.dim)
    visual[pictured] = encode_in_blocks(encoder, images[pictured])
    return Gallery(
        ids=tuple(item.id for item in items), images=images, pictured=pictured, captions=tuple(captions),
        keywords=tuple(extract(items, captions)), semantic=(semantic or encoder).encode_texts(captions), visual=visual,
    )  # fmt: skip
