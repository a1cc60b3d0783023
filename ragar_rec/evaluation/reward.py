"""The ranker as reward: pictures -> features -> counterfactual scores, in standard deviations of the user's scores."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
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
    """A ``generation.reward.Reward`` that asks a frozen ranker (eq. 10); the ranker stays bit-identical.

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
        users = torch.tensor([self.dataset.user_id(request.user) for request in requests])
        items = torch.tensor([self.dataset.item_id(request.reference) for request in requests])
        return self.view.substitute(users, items, self.features(images)) / self.view.spread(users)
