"""The protocol of rewards, which score pictures for the user who requested them (eq. 10), and their weighted sum."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from generation.request import Request


@runtime_checkable
class Reward(Protocol):
    """Scores pictures (eq. 10).

    The ranker's scores are comparable within a user only; one unit is one standard deviation of the user's scores. Any
    callable of this form will do: a ranker, a relevance, an aesthetic predictor. For the objective ``path`` its scores
    must carry the gradient of the pictures.
    """

    def __call__(self, requests: Sequence[Request], images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, " n"]:
        """One score a picture, each for the request in the same place."""
        ...


def checked_scores(
    reward: Reward, requests: Sequence[Request], images: Float[Tensor, "n 3 height width"]
) -> Float[Tensor, " n"]:
    """The reward's scores, checked.

    Raises:
        ValueError: the reward does not give one number a picture, or gives infinities or NaN.
    """
    scores = reward(requests, images)
    if scores.shape != (len(images),):
        raise ValueError(
            f"the reward gave shape {tuple(scores.shape)}, it must give one number a picture: ({len(images)},)"
        )
    # One NaN would reach every weight through the gradient.
    if bad := int((~torch.isfinite(scores)).sum()):
        raise ValueError(f"the reward gave {bad} values that are not finite numbers")
    return scores


class Mixture:
    """Weighted sum of rewards; the weights are also the exchange rates of their units.

    Args:
        parts: (weight, reward), at least one; a negative weight punishes.

    Examples:
        >>> reward = Mixture([(1.0, ranker), (2.0, Relevance(encoder, gallery, gallery.semantic))])
    """

    def __init__(self, parts: Sequence[tuple[float, Reward]]) -> None:
        if not parts:
            raise ValueError("a mixture of rewards needs at least one")
        self.parts = tuple(parts)

    def __call__(self, requests: Sequence[Request], images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, " n"]:
        """sum_i w_i f_i, differentiable where the rewards are."""
        weighted = [weight * checked_scores(reward, requests, images).to(images) for weight, reward in self.parts]
        return torch.stack(weighted).sum(0)
