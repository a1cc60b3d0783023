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
