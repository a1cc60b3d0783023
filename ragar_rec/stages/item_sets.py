"""Sets of items whose pictures are replaced."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ragar_rec.stages.catalogue import Pictures
from ragar_rec.stages.stage import Keyed


@dataclass(frozen=True, eq=False)
class CatalogueItems(Keyed):
    """Pictured items of a catalogue: all, or some of them drawn by seed.

    Attributes:
        pictures: of the catalogue.
        count: how many; 0 for all.
        seed: of the draw.
    """

    pictures: Pictures
    count: int
    seed: int

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Ids in the order of the catalogue.

        Raises:
            ValueError: there are fewer than ``count``.
        """
        ids = [self.pictures.items[row].id for row in self.pictures.pictured_rows]
        check_catalogue_items(self.count, len(ids))
        if not self.count:
            return tuple(ids)
        chosen = np.random.default_rng(self.seed).choice(len(ids), self.count, replace=False)
        return tuple(ids[at] for at in np.sort(chosen))


def check_catalogue_items(count: int, n_pictured: int) -> None:
    """Refuse more new pictures than there are old ones.

    Raises:
        ValueError: ``count`` is above the number of items that have a picture.
    """
    if count > n_pictured:
        raise ValueError(
            f"evaluation.catalogue_items asks for {count} new pictures, but only {n_pictured} items have a picture: "
            f"give at most {n_pictured}, or 0 for all"
        )
