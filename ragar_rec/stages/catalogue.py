"""The catalogue of an experiment: raw files prepared for RecBole, and every picture decoded at the generator's size."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from generation.framing import Fit
from generation.pictures import picture_shape, read_pictures
from ragar_rec.stages.stage import Stage
from ragar_rec.store.hashing import hash_files
from recsys.catalog import Catalog, Item, UnknownItems, undecodable
from recsys.data.preparers import PREPARERS, PreparerName
from recsys.features import in_order


@dataclass(frozen=True, eq=False)
class Catalogue(Stage):
    """Atomic files, ``catalog.csv`` and, for the embedded default, rendered covers.

    Attributes:
        preparer: which raw files are read, a key of ``recsys.data.PREPARERS``.
        dataset: RecBole's key ``dataset``: the name under which the prepared files stand.
        unknown_items: what becomes of interactions with items that the catalogue does not have.
    """

    name: ClassVar[str] = "data"
    preparer: PreparerName
    dataset: str
    unknown_items: UnknownItems = "error"

    @property
    def key(self) -> dict[str, Any]:
        """Also a fingerprint of the raw files."""
        return super().key | {"source": PREPARERS[self.preparer].fingerprint(self.workspace.data)}

    def build(self, to: Path) -> None:
        PREPARERS[self.preparer].prepare(self.workspace.data, to, self.dataset, unknown_items=self.unknown_items)

    @property
    def file(self) -> Path:
        """``catalog.csv``."""
        return self.folder / self.dataset / "catalog.csv"

    @cached_property
    def rows(self) -> Catalog:
        """All items as prepared, pictures that do not decode included."""
        return Catalog.read(self.file)

    @property
    def summary(self) -> dict[str, Any]:
        """Counts of what was prepared, by name."""
        return json.loads(self.file.with_name("summary.json").read_text(encoding="utf-8"))

    @property
    def image_problems(self) -> dict[str, str]:
        """Why the images that the raw catalogue names cannot be found, by item."""
        return json.loads(self.file.with_name("image_problems.json").read_text(encoding="utf-8"))

    @property
    def feature_files(self) -> dict[str, Path]:
        """Feature tables that the data set brings along, by modality."""
        files = {file.stem: file for file in self.file.parent.glob("*.safetensors")}
        return {modality: files[modality] for modality in in_order(files)}

    @cached_property
    def shapes(self) -> list[tuple[int, int]]:
        """(height, width) of every picture whose header reads."""
        shapes = [picture_shape(item.image) for item in self.rows if item.image is not None]
        return [shape for shape in shapes if shape is not None]

    @cached_property
    def pictures_hash(self) -> str:
        """Hash of all pictures as they lie on disk, those that do not decode among them."""
        return hash_files([item.image for item in self.rows if item.image is not None])

    @property
    def title(self) -> str:
        """The data set as shown, with a notice where its pictures are rendered."""
        return f"{self.dataset} (rendered covers)" if self.preparer == "ml-100k" else self.dataset


@dataclass(frozen=True, eq=False)
class Pictures(Stage):
    """Every picture of a catalogue as bytes at one size.

    Attributes:
        catalogue: whose pictures.
        height: in pixels.
        width: in pixels.
        fit: how pictures of other proportions are brought into this frame.
    """

    name: ClassVar[str] = "pictures"
    catalogue: Catalogue
    height: int
    width: int
    fit: Fit

    @property
    def key(self) -> dict[str, Any]:
        """Also the pictures' files."""
        return super().key | {"files": self.catalogue.pictures_hash}

    @property
    def file_key(self) -> dict[str, Any]:
        """What :meth:`read` depends on: pixels may differ in files, and by the fit, that are equal in this frame."""
        return {"files": self.catalogue.pictures_hash, "fit": self.fit}

    def read(self, rows: Sequence[int], size: tuple[int, int]) -> Tensor:
        """The files of some items at another size, (height, width), as bytes of shape (n, 3, height, width)."""
        return read_pictures([self.items[row] for row in rows], size, self.fit)

    def build(self, to: Path) -> None:
        broken = undecodable(self.catalogue.rows)
        decodable = self.catalogue.rows.without_images_of(broken)
        save_file({"images": read_pictures(list(decodable), self.size, self.fit)}, to / "pictures.safetensors")
        (to / "undecodable.json").write_text(json.dumps(broken))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    @cached_property
    def undecodable(self) -> list[str]:
        """Ids of the items whose picture does not decode."""
        return json.loads((self.folder / "undecodable.json").read_text())

    @cached_property
    def catalog(self) -> Catalog:
        """The catalogue; a picture that does not decode is a hole."""
        return self.catalogue.rows.without_images_of(self.undecodable)

    @cached_property
    def items(self) -> list[Item]:
        """The catalogue's items, in order."""
        return list(self.catalog)

    @cached_property
    def images(self) -> Tensor:
        """Bytes of shape (items, 3, height, width), zeros for holes."""
        return load_file(self.folder / "pictures.safetensors")["images"]

    @cached_property
    def pictured(self) -> frozenset[str]:
        """Ids of the items that have a picture."""
        return frozenset(item.id for item in self.items if item.image is not None)

    @cached_property
    def pictured_rows(self) -> list[int]:
        """Rows of the items that have a picture.

        Raises:
            ValueError: no item has one.
        """
        rows = [row for row, item in enumerate(self.items) if item.image is not None]
        if not rows:
            raise ValueError(f"none of the {len(self.items)} items in {self.catalogue.file} has a picture that decodes")
        return rows

    def rows(self, ids: Sequence[str]) -> Tensor:
        """Rows of items.

        Raises:
            KeyError: an item is not in the catalogue.
        """
        return torch.tensor([self._row[item] for item in ids], dtype=torch.long)

    @cached_property
    def _row(self) -> dict[str, int]:
        return {item.id: row for row, item in enumerate(self.items)}

    def divided(self, held_out: float, seed: int) -> tuple[list[int], list[int]]:
        """Rows of the pictures that the small backbone is trained on, and of those held out for judging it."""
        rows = self.pictured_rows
        training, held = hold_out(len(rows), held_out, seed)
        return [rows[at] for at in training], [rows[at] for at in held]


def hold_out(n: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Divide ``n`` pictures into those to learn from (at least one) and those held out, each in ascending order."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).tolist()
    n_held_out = min(round(share * n), n - 1)
    return sorted(order[n_held_out:]), sorted(order[:n_held_out])
