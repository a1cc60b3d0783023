"""The protocols of rewards, which score pictures for the user who requested them (eq. 10), and their weighted sum."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from generation.encoders.encoder import ImageEncoder
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


@runtime_checkable
class SharedReward(Reward, Protocol):
    """A reward that scores one picture for several users, and encodes it once for all of them."""

    def score_users(
        self, requests: Sequence[Sequence[Request]], images: Float[Tensor, "n 3 height width"]
    ) -> Float[Tensor, "n users"]:
        """What each picture scores for each of its requests, as a call for one of them would say.

        Args:
            requests: for each picture as many, all of the same item.
            images: the pictures.
        """
        ...


@runtime_checkable
class DirectedReward(Reward, Protocol):
    """A reward that reads a picture through an encoder's features, and knows which way they would have to move.

    Attributes:
        encoder: whose features.
    """

    encoder: ImageEncoder

    def direction(self, requests: Sequence[Request], features: Float[Tensor, "n dim"]) -> Float[Tensor, "n dim"]:
        """Unit gradient of each request's score in the features of a picture; zeros where the score does not change.

        Args:
            requests: for whom, and of which item.
            features: where the gradient is taken, as :attr:`encoder` gives them.

        Raises:
            ValueError: the score has no gradient.
        """
        ...


@runtime_checkable
class UncertainReward(Reward, Protocol):
    """A reward that says how little it knows of a picture."""

    def deviation(self, requests: Sequence[Request], images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, " n"]:
        """Standard deviation of what each picture is worth beyond its reference's own picture."""
        ...


def directed(reward: Reward) -> DirectedReward:
    """The reward, which is to know a direction.

    Raises:
        ValueError: it does not.
    """
    if not isinstance(reward, DirectedReward):
        raise ValueError(f"{type(reward).__name__} knows no direction: it has no method `direction`")
    return reward


def score_users(
    reward: Reward, requests: Sequence[Sequence[Request]], images: Float[Tensor, "n 3 height width"]
) -> Float[Tensor, "n users"]:
    """Scores of each picture for several users: by :class:`SharedReward` where the reward is one, else repeated.

    Raises:
        ValueError: see :func:`checked_scores`.
    """
    n = len(requests[0])
    if isinstance(reward, SharedReward):
        scores = reward.score_users(requests, images)
    else:
        repeated = images.repeat_interleave(n, dim=0)
        scores = reward([request for of_one in requests for request in of_one], repeated)
        scores = _checked(scores, (len(repeated),)).view(len(images), n)
    return _checked(scores, (len(images), n))


def checked_scores(
    reward: Reward, requests: Sequence[Request], images: Float[Tensor, "n 3 height width"]
) -> Float[Tensor, " n"]:
    """The reward's scores, checked.

    Raises:
        ValueError: the reward does not give one number a picture, or gives infinities or NaN.
    """
    return _checked(reward(requests, images), (len(images),))


def _checked(scores: Tensor, shape: tuple[int, ...]) -> Tensor:
    if scores.shape != shape:
        kind = "a picture" if len(shape) == 1 else "a picture and user"
        raise ValueError(f"the reward gave shape {tuple(scores.shape)}, it must give one number {kind}: {shape}")
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


def parts_of(reward: Reward) -> list[Reward]:
    """The rewards of a mixture; of any other reward itself."""
    return [part for _, part in reward.parts] if isinstance(reward, Mixture) else [reward]
