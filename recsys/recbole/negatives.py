"""Negative items for a cold-start split: drawn among the items that occur in training."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Int
from torch import Tensor

from recsys.recbole.isolation import isolated

with isolated():
    import recbole.sampler


class TrainingItemSampler(recbole.sampler.Sampler):
    """RecBole's sampler for the training phase, restricted to items with at least one training interaction.

    RecBole draws among all items. An item that is withheld from training is never a positive there, so that as a
    negative it would only ever be pushed down: a ranker would learn to place exactly the withheld items last.

    Args:
        training: the training part of the data set.
        distribution: `uniform`, or `popularity`, which counts training interactions.
        alpha: exponent of the counts under `popularity`.
    """

    def __init__(self, training: Any, distribution: str, alpha: float) -> None:
        self._items: Int[np.ndarray, " items"] = np.unique(training.inter_feat[training.iid_field].numpy())
        super().__init__("train", training, distribution, alpha)

    def _uni_sampling(self, sample_num: int) -> Int[np.ndarray, " samples"]:
        # RecBole's own source of randomness, which the trainer seeds every epoch.
        return self._items[np.random.randint(0, len(self._items), sample_num)]  # noqa: NPY002

    def sample_by_user_ids(self, user_ids: Any, item_ids: Any, num: int) -> Tensor:
        """Draw `num` items for each user that the user did not click in training.

        Raises:
            ValueError: a user clicked all training items, so that there is no negative to draw.
        """
        for user in np.unique(np.asarray(user_ids)):
            if len(self.used_ids[user]) == len(self._items):  # RecBole would draw again and again without an end.
                token = self.datasets[0].id2token(self.uid_field, int(user))
                raise ValueError(
                    f"user {token} has clicked all {len(self._items)} items of the training part, so that no negative "
                    "item is left; withhold fewer items, or filter such users by user_inter_num_interval"
                )
        return self.sample_by_key_ids(user_ids, num)
