"""The relevance reward: a picture's cosine with its reference."""

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from generation.encoders.encoder import ImageEncoder
from generation.gallery import Gallery
from generation.request import Request


class Relevance:
    """CLIP-type relevance: cosine of a picture with its request's reference in an encoder's space, in [-1, 1].

    It keeps a picture *of the item* while another reward pulls it towards the user's taste. Differentiable.

    Args:
        encoder: encodes the pictures.
        gallery: the items.
        targets: the feature of each item of the gallery, of its caption or its picture, in the encoder's space (for the
            encoder that the gallery was made with: ``gallery.semantic`` or ``gallery.visual``).
    """

    def __init__(self, encoder: ImageEncoder, gallery: Gallery, targets: Float[Tensor, "items dim"]) -> None:
        if targets.shape != (len(gallery.ids), encoder.dim):
            raise ValueError(
                f"{encoder.name} gives {encoder.dim} features and the gallery has {len(gallery.ids)} items, but the "
                f"target features are {targets.shape[0]} x {targets.shape[1]}"
            )
        self.encoder, self.gallery, self.targets = encoder, gallery, targets

    def __call__(self, requests: Sequence[Request], images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, " n"]:
        """One cosine a picture."""
        targets = self.targets[self.gallery.rows([request.reference for request in requests])]
        features = self.encoder.encode_images(images)
        return F.cosine_similarity(features, targets.to(features))
