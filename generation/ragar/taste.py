"""People's taste vectors: which way the catalogue's pictures lead to a higher reward, in the generator's features."""

from collections.abc import Sequence
from functools import cached_property

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from generation.gallery import Gallery
from generation.request import Request
from generation.reward import DirectedReward


class Taste:
    """How features of pictures move with what a person's reward says of them.

    A reward of gradient g in its own encoder's features changes along the catalogue's pictures as their features y do:
    the covariance of the generator's features x with the reward g . y is Cov(x, y) g. So the two encoders may differ,
    and where they are one, the gradient does not lead out of all pictures, whose features hardly vary in most
    directions, above all where a ranker has whitened them.

    Args:
        reward: who knows the gradients.
        gallery: the catalogue, with x of its pictures.
        features: y of each of the gallery's rows, as the reward's encoder gives them; by default x, of one encoder.

    Raises:
        ValueError: there are not as many features as rows, or not as wide as the reward's encoder gives them.
    """

    def __init__(
        self, reward: DirectedReward, gallery: Gallery, features: Float[Tensor, "n seen"] | None = None
    ) -> None:
        features = gallery.visual if features is None else features
        if features.shape != (len(gallery.ids), reward.encoder.dim):
            raise ValueError(
                f"a taste: {reward.encoder.name} gives {reward.encoder.dim} features a picture, for the "
                f"gallery's {len(gallery.ids)} items {' x '.join(map(str, features.shape))} were given"
            )
        self.reward, self.gallery, self.features = reward, gallery, features

    def __call__(self, requests: Sequence[Request]) -> Float[Tensor, "batch visual"]:
        """The taste of each request's user, at the item's own picture: of length 1, zeros where she has none."""
        own = self.features[self.gallery.rows([request.reference for request in requests])]
        gradients = self.reward.direction(requests, own)
        return F.normalize(gradients.detach().to(self.covariance) @ self.covariance.T, dim=1)

    @cached_property
    def covariance(self) -> Float[Tensor, "visual seen"]:
        """Of x (rows) and y (columns), over the catalogue's pictures."""
        x, y = (table[self.gallery.pictured] for table in (self.gallery.visual, self.features))
        return (x - x.mean(0)).T @ (y - y.mean(0)) / max(1, len(x) - 1)
