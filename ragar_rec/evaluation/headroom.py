"""Headroom: what the best of many pictures would be worth to a ranker, for the person and for everybody."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor


def headroom(
    own: Float[Tensor, "users pictures"], stranger: Float[Tensor, "users pictures"]
) -> Mapping[str, Float[Tensor, " users"]]:
    """Gains of the ranker's best picture out of a pool, by whom it was chosen for.

    Args:
        own: what each user's item gains in the user's score by each picture of the pool, over its own picture.
        stranger: what the same item gains in a stranger's score, the stranger being another one for each user.

    Returns:
        A value for each user: ``own``, the picture that is best for the user; ``stranger``, that which is best for the
        stranger, as the user sees it; ``everybody``, that which is best for all others on average; ``spread``, the
        standard deviation over the pool.
    """
    rows = torch.arange(len(own))
    # The user's own row is left out, so that the average picture is not chosen by the one whom it is shown to.
    others = own.sum(0) - own
    return {
        "own": own.amax(1),
        "stranger": own[rows, stranger.argmax(1)],
        "everybody": own[rows, others.argmax(1)],
        "spread": own.std(1, correction=0),
    }


def personal_share(gains: Float[Tensor, "users pictures"]) -> float:
    """Share of the variance over pictures, within users, that is left without each picture's mean effect over users.

    1 if no picture pleases more people than another, 0 if everybody reacts alike; nan if nobody reacts at all.
    """
    centred = gains - gains.mean(1, keepdim=True)
    return float((centred - centred.mean(0)).square().mean() / centred.square().mean())
