"""Masks of what generated pictures keep of the items' own: found by the background's colour, or read from a folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torchvision.utils import save_image

from generation.masks import first_few, foreground_masks, read_masks
from generation.pictures import to_float
from generation.settings import INCIDENTAL
from ragar_rec.stages.catalogue import Pictures
from ragar_rec.stages.stage import Stage

FOREGROUND = "foreground"
"""The value of ``generator.keep`` by which masks are computed and not read."""
SHEET = 48
"""Most pictures of a sheet."""
MAY_CHANGE = (1.0, 0.0, 1.0)
"""Magenta, which hardly any product has."""


@dataclass(frozen=True, eq=False)
class Masks(Stage):
    """A mask for each item of a catalogue, at the size of its pictures; masks of a folder count by their content.

    Attributes:
        pictures: of the catalogue.
        source: ``foreground``, or a folder of masks, ``<item id>.png``.
    """

    name: ClassVar[str] = "masks"
    pictures: Pictures
    source: str = field(metadata=INCIDENTAL)

    @property
    def key(self) -> dict[str, Any]:
        """Also ``foreground``, or the hash of the folder and the pictures' files, whose proportions its masks have."""
        if self.source == FOREGROUND:
            return super().key | {"source": FOREGROUND}
        return super().key | self.pictures.file_key | {"folder": self.workspace.store.hash_source(str(self._folder))}

    def check(self) -> None:
        """Say that there is no such folder.

        Raises:
            FileNotFoundError: neither in the data folder nor in the working directory.
        """
        if self.source != FOREGROUND and not self._folder.is_dir():
            raise FileNotFoundError(
                f"generator.keep {self.source!r} is neither none nor foreground, nor a folder of masks"
                f"{f' in {self.workspace.data} or' if self.workspace.data else ''} in the working directory"
            )

    def build(self, to: Path) -> None:
        pictures, unknown = self.pictures, list[str]()
        if self.source == FOREGROUND:
            rows = pictures.pictured_rows
            masks = pictures.images.new_zeros(len(pictures.items), *pictures.size)
            masks[rows], at = foreground_masks(pictures.images[rows])
            unknown = [pictures.items[rows[row]].id for row in at]
        else:
            masks = read_masks(self._folder, pictures.items, pictures.size, pictures.fit)
        if bool((masks[pictures.pictured_rows] == 255).all()):
            raise ValueError(self._nothing_may_change())
        save_file({"masks": masks}, to / "masks.safetensors")
        (to / "unknown.json").write_text(json.dumps(unknown))

    @cached_property
    def kept(self) -> Tensor:
        """Bytes of shape (items, height, width): 255 where the picture is kept."""
        return load_file(self.folder / "masks.safetensors")["masks"]

    @cached_property
    def unknown(self) -> list[str]:
        """Ids of the items whose foreground cannot be told; their pictures are kept as a whole."""
        return json.loads((self.folder / "unknown.json").read_text())

    @property
    def summary(self) -> str:
        """How much is kept, and of how many pictures everything, as sentences."""
        pictured = self.pictures.pictured_rows
        share = float(self.kept[pictured].float().mean()) / 255
        sentence = f"`generator.keep: {self.source}` keeps {share:.0%} of the average picture as it is."
        return " ".join([sentence, *([_unknown_sentence(self.unknown, len(pictured))] if self.unknown else [])])

    def save_sheet(self, file: Path) -> None:
        """Write :data:`SHEET` pictures, each beside itself with what may change in one colour, to look at."""
        rows = self.pictures.pictured_rows
        rows = rows[:: -(-len(rows) // SHEET)]  # spread over the catalogue; rounded up
        own, kept = to_float(self.pictures.images[rows]), (self.kept[rows] / 255)[:, None]
        hidden = torch.lerp(torch.tensor(MAY_CHANGE)[:, None, None].expand_as(own), own, kept.expand_as(own))
        save_image(torch.stack([own, hidden], dim=1).flatten(0, 1), file, nrow=8)

    @property
    def _folder(self) -> Path:
        return self.workspace.data_file(self.source)

    def _nothing_may_change(self) -> str:
        if self.source == FOREGROUND:
            return (
                f"generator.keep foreground: none of {len(self.pictures.pictured)} pictures shows something before a "
                "background of one colour, so nothing could change: take keep: none, or masks in a folder"
            )
        return f"the masks in {self._folder} are white throughout, so nothing could change: white is kept"


def _unknown_sentence(unknown: Sequence[str], pictured: int) -> str:
    return (
        f"{len(unknown)} of {pictured} pictures show nothing before a background of one colour, and are kept as a "
        f"whole: {first_few(unknown)}."
    )
