"""The ranker as reward: pictures -> features -> counterfactual scores, in standard deviations of the user's scores."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from generation.encoders.encoder import ImageEncoder
from generation.request import Request
from recsys.recbole.dataset import Dataset
from recsys.scoring.counterfactual import Counterfactual


def normalise(
    features: Float[Tensor, "n dim"], mean: Float[Tensor, " dim"], whitening: Float[Tensor, "dim components"] | None
) -> Float[Tensor, "n out"]:
    """An encoder's features as rankers read them: without the catalogue's mean, and whitened if there is a map."""
    centred = features - mean
    return centred if whitening is None else centred @ whitening


class RankerReward:
    """The reward by a frozen ranker (eq. 10), which stays bit-identical; a ``SharedReward`` and a ``DirectedReward``.

    Args:
        view: the ranker's counterfactual score.
        dataset: translates user and item tokens to internal ids.
        encoder: the encoder whose features the ranker was trained on.
        mean: the catalogue's mean feature, which was removed from them.
        whitening: the map to the features that the ranker was trained on; None if they were not whitened.

    Raises:
        ValueError: the encoder's features are not as long as those that the ranker reads.
    """

    def __init__(
        self,
        view: Counterfactual,
        dataset: Dataset,
        encoder: ImageEncoder,
        mean: Float[Tensor, " dim"],
        whitening: Float[Tensor, "dim components"] | None = None,
    ) -> None:
        width = encoder.dim if whitening is None else whitening.shape[1]
        if view.feature_dim != width:
            raise ValueError(f"the ranker reads {view.feature_dim} features a picture, {encoder.name} gives {width}")
        self.view, self.dataset, self.encoder, self.mean, self.whitening = view, dataset, encoder, mean, whitening

    def features(self, images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n dim"]:
        """Image features as the ranker reads them; differentiable."""
        return normalise(self.encoder.encode_images(images).to(self.mean), self.mean, self.whitening)

    def __call__(self, requests: Sequence[Request], images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, " n"]:
        """Score of each request's item under its picture, in standard deviations of the user's original scores."""
        users, items = self._ids(requests)
        return self.view.substitute(users, items, self.features(images)) / self.view.spread(users)

    def score_users(
        self, requests: Sequence[Sequence[Request]], images: Float[Tensor, "n 3 height width"]
    ) -> Float[Tensor, "n users"]:
        """What each picture scores for each of its requests, which are all of one item; it is encoded once."""
        users = torch.tensor([[self.dataset.user_id(request.user) for request in of_one] for of_one in requests])
        items = torch.tensor([self.dataset.item_id(of_one[0].reference) for of_one in requests])
        scores = self.view.substitute_users(users, items, self.features(images))
        # Strangers repeat within a batch; a spread costs a score of every item.
        distinct, place = users.unique(return_inverse=True)
        return scores / self.view.spread(distinct)[place]

    def direction(self, requests: Sequence[Request], features: Float[Tensor, "n dim"]) -> Float[Tensor, "n dim"]:
        """The user's taste vector: the unit gradient of each request's score in the features of a picture.

        It is taken through centring and whitening, at these features as the encoder gives them, and lies in their
        space. The encoder need have no gradient itself. Zeros where the score does not change.

        Raises:
            ValueError: the ranker's score has no gradient in features.
        """
        users, items = self._ids(requests)
        with torch.enable_grad():
            point = features.detach().to(self.mean).requires_grad_()
            scores = self.view.substitute(users, items, normalise(point, self.mean, self.whitening))
            if not scores.requires_grad:
                raise ValueError(
                    "the ranker's score has no gradient in the features of a picture, so that no direction is known: "
                    "take another ranker, or the inductive score in place of the exact one"
                )
            (gradient,) = torch.autograd.grad(scores.sum(), point)
        return F.normalize(gradient, dim=1)

    def _ids(self, requests: Sequence[Request]) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
        """Internal ids of users and items."""
        users = torch.tensor([self.dataset.user_id(request.user) for request in requests])
        return users, torch.tensor([self.dataset.item_id(request.reference) for request in requests])
