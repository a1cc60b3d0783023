"""Weights that the config names: a folder, or a hub name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from generation.settings import INCIDENTAL
from ragar_rec.stages.stage import Keyed


@dataclass(frozen=True, eq=False)
class Weights(Keyed):
    """A model's weights that the config names: a folder, which counts by its content, or a hub name."""

    source: str = field(metadata=INCIDENTAL)

    @property
    def key(self) -> dict[str, Any]:
        """The hash of the folder, or the hub name."""
        return {"weights": self.workspace.store.hash_source(self.source)}

    @property
    def path(self) -> str:
        """What ``from_pretrained`` takes."""
        return self.source
