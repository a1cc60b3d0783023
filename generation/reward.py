"""What reflection asks of a reward: how much would this user want this item if it looked like this?"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from generation.request import Request


@runtime_checkable
class Reward(Protocol):
    """Scores pictures (eq. 10). Comparable within a user only; one unit is one standard deviation of her scores."""

    def __call__(self, requests: Sequence[Request], images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, " n"]:
        """One score a picture, each for the request in the same place."""
        ...
