"""The gallery: a catalogue as the generator reads it, with pictures, captions, features and keywords in memory."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from safetensors.torch import save_file
from torch import Tensor

from generation.checkpoint import read_json, read_tensors
from generation.encoders.dual import OpenClipEncoder
from generation.encoders.encoder import ImageEncoder, TextEncoder, encode_in_blocks
from generation.pictures import rows_with_picture, to_float
from generation.request import Item
from generation.words.captions import Captioner, describe
from generation.words.keywords import KeywordExtractor

TABLES = ("images", "pictured", "semantic", "visual", "kept")
"""Names of a gallery's tensors."""


@dataclass(frozen=True)
class Gallery:
    """Row ``i`` of every table is item ``ids[i]``; an item without a picture has zeros there and ``pictured`` False.

    Attributes:
        kept: masks of what generated pictures keep of the items' own, 255 where a pixel stays and 0 where it may
            change; None where everything may. See :mod:`generation.masks`.
    """

    ids: tuple[str, ...]
    images: UInt8[Tensor, "n 3 height width"]
    pictured: Bool[Tensor, " n"]
    captions: tuple[str, ...]
    keywords: tuple[tuple[str, ...], ...]
    semantic: Float[Tensor, "n words"]
    visual: Float[Tensor, "n dim"]
    kept: UInt8[Tensor, "n height width"] | None = None

    def __post_init__(self) -> None:
        # The dataclass is frozen: this is the one way to set what is derived from its fields.
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
        """Mean feature of the pictures, zeros if there is none.

        Encoders' features lie in a narrow cone, so that all cosines are high; without their mean, cosines tell pictures
        apart.
        """
        return self.visual[self.pictured].sum(0) / max(1, int(self.pictured.sum()))

    def keep(
        self, generated: Float[Tensor, "m 3 height width"], rows: Int[Tensor, " m"]
    ) -> Float[Tensor, "m 3 height width"]:
        """Put back what is kept of the items' own pictures: kept * own + (1 - kept) * generated.

        The gradient of the generated pictures is that of what may change. Where everything may, or may not, the result
        is the generated, or the item's own, pixel bit for bit.
        """
        if self.kept is None:
            return generated
        own, kept = to_float(self.images[rows]).to(generated), (self.kept[rows] / 255)[:, None].to(generated)
        return torch.lerp(generated, own, kept)

    def save_pretrained(self, folder: Path) -> None:
        """Write texts to ``gallery.json``, pictures and features to ``gallery.safetensors``."""
        folder.mkdir(parents=True, exist_ok=True)
        texts = {"ids": self.ids, "captions": self.captions, "keywords": self.keywords}
        (folder / "gallery.json").write_text(json.dumps(texts, ensure_ascii=False), encoding="utf-8")
        tables = {name: getattr(self, name) for name in TABLES}
        save_file(
            {name: table.contiguous() for name, table in tables.items() if table is not None},
            folder / "gallery.safetensors",
        )

    @classmethod
    def from_pretrained(cls, folder: Path) -> "Gallery":
        """Read what :meth:`save_pretrained` wrote.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: one does not read, or the two do not belong together.
        """
        texts, tables = read_json(folder / "gallery.json"), read_tensors(folder / "gallery.safetensors")
        columns = texts | tables
        lengths = {len(column) for column in columns.values()}
        if set(columns) | {"kept"} != {field.name for field in fields(cls)} or len(lengths) > 1:
            raise ValueError(f"{folder} holds no gallery: its columns {sorted(columns)} have {sorted(lengths)} rows")
        return cls(
            ids=tuple(texts["ids"]),
            captions=tuple(texts["captions"]),
            keywords=tuple(tuple(of_item) for of_item in texts["keywords"]),
            **tables,
        )


def caption(items: Sequence[Item], images: UInt8[Tensor, "n 3 height width"], captioner: Captioner) -> tuple[str, ...]:
    """Captions of all items (``cap_i``); one without a picture is described by its tags and decade alone."""
    rows = rows_with_picture(items)
    captions = dict(zip(rows, captioner([items[row] for row in rows], images[rows]), strict=True))
    # `or`: a captioner may also give an empty caption.
    return tuple(captions.get(row) or describe(item) for row, item in enumerate(items))


def build_gallery(
    items: Sequence[Item],
    images: UInt8[Tensor, "n 3 height width"],
    captions: Sequence[str],
    extract: KeywordExtractor,
    encoder: OpenClipEncoder,
    semantic: TextEncoder | None = None,
    visual: ImageEncoder | None = None,
    kept: UInt8[Tensor, "n height width"] | None = None,
) -> Gallery:
    """Compute semantic features of the captions (eq. 2), visual features of the pictures (eq. 4), keywords (eq. 6).

    ``encoder`` encodes the pictures, unless ``visual`` is given, and the captions, unless ``semantic`` is. Features of
    ``visual`` are normalised to length 1, as the dual encoder's are. ``kept`` are masks, see :class:`Gallery`.
    """
    caption_features = (semantic or encoder).encode_texts(captions)
    pictured = torch.tensor([item.image is not None for item in items], dtype=torch.bool)
    encoded = encode_in_blocks(visual or encoder, images[pictured])
    picture_features = torch.zeros(len(items), encoded.shape[1])
    picture_features[pictured] = F.normalize(encoded, dim=-1) if visual else encoded
    return Gallery(
        ids=tuple(item.id for item in items),
        images=images,
        pictured=pictured,
        captions=tuple(captions),
        keywords=tuple(extract(items, captions)),
        semantic=caption_features,
        visual=picture_features,
        kept=kept,
    )
