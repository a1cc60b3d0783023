"""Splits that RecBole has not: by a column of the data, and by items that training never sees."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int

Parts = tuple[Int[np.ndarray, " train"], Int[np.ndarray, " valid"], Int[np.ndarray, " test"]]


def by_label(labels: Float[np.ndarray, " rows"]) -> Parts:
    """Rows labelled 0 (training), 1 (validation) and 2 (test), as MMRec's column x_label has them.

    Raises:
        ValueError: a label is something else, or nothing is left to train on.
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
    """A share of the items is withheld from training with all interactions: half for validation, the rest for test.

    Items in the test are thus unseen in training and in validation; whoever clicked them keeps the rest of the
    history for training. Only items that have interactions are drawn.

    Args:
        items: of each interaction.
        share: of the items, between 0 and 1, as a config gives it.
        seed: of the draw.

    Raises:
        ValueError: the share does not lie between 0 and 1, or leaves a part without items.
    """
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1:
        raise ValueError(f"a cold-start split takes a share of the items between 0 and 1, got {share!r}")
    known = np.unique(items)
    count = round(share * len(known))
    if not 2 <= count < len(known):
        raise ValueError(
            f"{share:g} of {len(known)} items are {count}: a cold-start split withholds at least 2, not all"
        )
    cold = np.random.default_rng(seed).permutation(known)[:count]
    valid, test = np.isin(items, cold[: count // 2]), np.isin(items, cold[count // 2 :])
    return np.flatnonzero(~(valid | test)), np.flatnonzero(valid), np.flatnonzero(test)
