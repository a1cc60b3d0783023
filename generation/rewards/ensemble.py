"""A reward of several trainings of one ranker, discounted where they disagree."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from generation.encoders.encoder import ImageEncoder
from generation.gallery import Gallery
from generation.pictures import to_float
from generation.request import Request
from generation.reward import Reward, checked_scores, directed


class Ensemble:
    """Mean over rewards of one kind, less their disagreement: mean_m f_m(v) - lambda sd_m(f_m(v) - f_m(v_ref)).

    Rewards that were trained alike but for their seed agree on pictures like those that they saw, and less the further
    a picture lies from these (Lakshminarayanan et al. 2017); a generator that is paid less there has less to gain by
    leaving that ground. The deviation is that of what they say of the *picture*: they disagree on the item itself,
    which would drown it, so that each one's score of the reference's own picture is taken away first. v_ref therefore
    has no discount. Differentiable where the rewards are; every reward encodes the pictures by itself.

    Args:
        rewards: two or more.
        gallery: has the references' own pictures.
        discount: lambda.

    Raises:
        ValueError: there are fewer than two rewards.
    """

    def __init__(self, rewards: Sequence[Reward], gallery: Gallery, discount: float) -> None:
        if len(rewards) < 2:
            raise ValueError(f"rewards disagree where there are two or more, got {len(rewards)}")
        self.rewards, self.gallery, self.discount = tuple(rewards), gallery, discount
        self._of_references: dict[tuple[str, str], Float[Tensor, " rewards"]] = {}

    def __call__(self, requests: Sequence[Request], images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, " n"]:
        """One score a picture, in the rewards' own unit."""
        scores = self._scores(requests, images)
        return scores.mean(1) - self.discount * self._deviation(requests, scores)

    def deviation(self, requests: Sequence[Request], images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, " n"]:
        """Standard deviation over the rewards of what each picture scores above the reference's own picture."""
        return self._deviation(requests, self._scores(requests, images))

    @property
    def encoder(self) -> ImageEncoder:
        """Of the rewards, where they know a direction."""
        return directed(self.rewards[0]).encoder

    def direction(self, requests: Sequence[Request], features: Float[Tensor, "n dim"]) -> Float[Tensor, "n dim"]:
        """Mean of the rewards' unit directions, at length 1: parts on which they differ count less.

        All rewards are to see by one encoder.

        Raises:
            ValueError: a reward knows no direction, or its score has no gradient.
        """
        directions = [directed(reward).direction(requests, features) for reward in self.rewards]
        return F.normalize(torch.stack(directions).mean(0), dim=1)

    def _deviation(self, requests: Sequence[Request], scores: Float[Tensor, "n rewards"]) -> Float[Tensor, " n"]:
        gains = scores - self._reference_scores(requests).to(scores)
        # A norm, and not a root: its gradient is 0, and not infinite, where all agree.
        centred = gains - gains.mean(1, keepdim=True)
        return torch.linalg.vector_norm(centred, dim=1) / (len(self.rewards) - 1) ** 0.5

    def _scores(self, requests: Sequence[Request], images: Tensor) -> Float[Tensor, "n rewards"]:
        return torch.stack([checked_scores(reward, requests, images) for reward in self.rewards], dim=1)

    @torch.no_grad()
    def _reference_scores(self, requests: Sequence[Request]) -> Float[Tensor, "n rewards"]:
        """Each reward's score of the references' own pictures; scored once for each user and item."""
        missing = {
            key: request
            for request in requests
            if (key := (request.user, request.reference)) not in self._of_references
        }
        if missing:
            rows = self.gallery.rows([request.reference for request in missing.values()])
            scores = self._scores(list(missing.values()), to_float(self.gallery.images[rows]))
            self._of_references.update(zip(missing, scores.cpu(), strict=True))
        return torch.stack([self._of_references[request.user, request.reference] for request in requests])
