"""What reflection asks of a reward: how much would this user want this item if it looked like this?"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from generation.encoders import ImageEncoder
from generation.gallery import Gallery
from generation.request import Request


@runtime_checkable
class Reward(Protocol):
    """Scores pictures (eq. 10). Comparable within a user only; one unit is one standard deviation of her scores.

    Any callable of this form will do: a ranker, a relevance, an aesthetic predictor. For the objective ``path`` its
    scores must carry the gradient of the pictures.
    """

    def __call__(self, requests: Sequence[Request], images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, " n"]:
        """One score a picture, each for the request in the same place."""
        ...


class Mixture:
    """Weighted sum of rewards; the weights are also the exchange rates of their units.

    Args:
        parts: (weight, reward), at least one; a negative weight punishes.

    Example:
        >>> reward = Mixture([(1.0, ranker), (2.0, Relevance(encoder, gallery, gallery.semantic))])
    """

    def __init__(self, parts: Sequence[tuple[float, Reward]]) -> None:
        if not parts:
            raise ValueError("a mixture of rewards needs at least one")
        self.parts = tuple(parts)

    def __call__(self, requests: Sequence[Request], images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, " n"]:
        """sum_i w_i f_i, differentiable where the parts are."""
        return torch.stack([weight * reward(requests, images).to(images) for weight, reward in self.parts]).sum(0)


class Relevance:
    """CLIP-type relevance: cosine of a picture with its request's reference in an encoder's space, in [-1, 1].

    What keeps a picture *of the item* while another reward pulls it towards the user's taste. Differentiable.

    Args:
        encoder: whose space it is.
        gallery: the items.
        wanted: a row for each item of the gallery: captions or pictures in that space (for the encoder that the
            gallery was made with: ``gallery.semantic`` or ``gallery.visual``).
    """

    def __init__(self, encoder: ImageEncoder, gallery: Gallery, wanted: Float[Tensor, "items dim"]) -> None:
        if wanted.shape != (len(gallery.ids), encoder.dim):
            raise ValueError(
                f"{encoder.name} gives {encoder.dim} features and the gallery has {len(gallery.ids)} items, but the "
                f"wanted features are {wanted.shape[0]} x {wanted.shape[1]}"
            )
        self.encoder, self.gallery, self.wanted = encoder, gallery, wanted

    def __call__(self, requests: Sequence[Request], images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, " n"]:
        """One cosine a picture."""
        wanted = self.wanted[self.gallery.rows([request.reference for request in requests])]
        seen = self.encoder.encode_images(images)
        return F.cosine_similarity(seen, wanted.to(seen))
