"""Names of the parts of a split, and splits that RecBole lacks: by a label column and by cold-start items."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

Phase = Literal["train", "valid", "test"]
"""A part of the interactions."""

HeldOutPhase = Literal["valid", "test"]
"""A part of the interactions on which rankers are evaluated."""

Among = Literal["split", "all"]
"""Which items are ranked: those of the split (`Dataset.candidates`; under `COLD` the withheld ones), or all."""

# Row numbers of each part.
Parts = tuple[Int[np.ndarray, " train"], Int[np.ndarray, " valid"], Int[np.ndarray, " test"]]


def by_label(labels: Float[np.ndarray, " rows"]) -> Parts:
    """Split by labels: rows labelled 0 (training), 1 (validation) and 2 (test), as in MMRec's column x_label.

    Raises:
        ValueError: there is another label, or no row is labelled 0.
    """
    other = ~np.isin(labels, (0, 1, 2))
    if other.any():
        raise ValueError(
            f"interaction {int(other.argmax()) + 1} is labelled {labels[other.argmax()]:g}, but must be labelled "
            f"0 (train), 1 (valid) or 2 (test); {int(other.sum())} are not"
        )
    if not (labels == 0).any():
        raise ValueError(f"none of the {len(labels)} interactions is labelled 0: there is nothing to train on")
    train, valid, test = (np.flatnonzero(labels == part) for part in range(3))
    return train, valid, test


def cold_start(items: Int[np.ndarray, " rows"], share: Any, seed: int) -> Parts:
    """Cold-start split: a random share of the items is withheld from training with all their interactions.

    Half of these items are for validation, the rest for test: test items are unseen in training and in validation.
    Users keep their interactions with the other items for training. Only items with interactions are drawn.

    Args:
        items: the item of each interaction.
        share: share of the items to withhold, between 0 and 1, as a configuration gives it.
        seed: seed of the draw.

    Raises:
        ValueError: the share does not lie between 0 and 1, or leaves a part without items.
    """
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1:
        raise ValueError(f"a cold-start split takes a share of the items between 0 and 1, got {share!r}")
    distinct = np.unique(items)
    count = round(share * len(distinct))
    if not 2 <= count < len(distinct):
        raise ValueError(
            f"{share:g} of {len(distinct)} items are {count}: a cold-start split withholds at least 2, not all"
        )
    cold = np.random.default_rng(seed).permutation(distinct)[:count]
    valid, test = np.isin(items, cold[: count // 2]), np.isin(items, cold[count // 2 :])
    return np.flatnonzero(~(valid | test)), np.flatnonzero(valid), np.flatnonzero(test)
