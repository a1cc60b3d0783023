"""Popularity: the non-personalised baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from recsys.rankers.defaults import DEFAULTS
from recsys.recbole.models import RecBolePop


class Pop(RecBolePop):
    """Scores an item by its number of training interactions.

    RecBole's own class counts an item once per *batch* that contains it (an indexed `+ 1` ignores repeats), so that
    with batches of thousands all popular items tie, and it counts sampled negatives too. This class counts every
    training interaction and nothing else; the rest is inherited.
    """

    DEFAULTS: ClassVar[Mapping[str, Any]] = DEFAULTS["Pop"]

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Count the items of one batch; the loss is 0."""
        items = interaction[self.ITEM_ID]
        self.item_cnt.index_add_(0, items, torch.ones_like(items)[:, None])
        self.max_cnt = self.item_cnt.max(dim=0).values
        # The trainer calls backward(): the loss must depend on a parameter.
        return 0 * self.fake_loss.sum()
