"""The aesthetic reward: a linear head on an encoder's features."""

from collections.abc import Sequence
from pathlib import Path

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from generation.checkpoint import read_tensors
from generation.encoders.encoder import ImageEncoder
from generation.request import Request
from generation.rewards.choice import missing_head


class Aesthetic:
    """Aesthetic score of a picture, whatever it shows: a linear head on an encoder's features. Differentiable.

    The score is w · f / ||f|| + b in the units of the ratings that the head was fitted to. LAION's aesthetic predictor
    reads the features of CLIP ViT-L/14 and gives about the mean rating from 1 to 10
    (github.com/LAION-AI/aesthetic-predictor, ``sa_0_4_vit_l_14_linear.pth``, a pickle: docs/ragar.md says how to save
    it as safetensors).

    Args:
        encoder: gives the features that the head reads.
        weight: w, as ``nn.Linear(dim, 1)`` keeps it.
        bias: b, likewise.
    """

    def __init__(self, encoder: ImageEncoder, weight: Float[Tensor, "1 dim"], bias: Float[Tensor, " 1"]) -> None:
        if weight.shape[1] != encoder.dim:
            raise ValueError(
                f"the aesthetic head reads {weight.shape[1]} features a picture, {encoder.name} gives {encoder.dim}"
            )
        self.encoder, self.weight, self.bias = encoder, weight, bias

    @classmethod
    def from_file(cls, encoder: ImageEncoder, file: Path) -> "Aesthetic":
        """Read a safetensors file with the keys ``weight`` (1, dim) and ``bias`` (1,).

        Raises:
            FileNotFoundError: it is not there; the message says how to get one.
            ValueError: it is pickled, does not read, or holds something else.
        """
        if not file.is_file():
            raise FileNotFoundError(missing_head(f"at {file}"))
        head = {name: value.float() for name, value in read_tensors(file).items()}
        shapes = {name: tuple(value.shape) for name, value in head.items()}
        if set(shapes) != {"weight", "bias"} or shapes["bias"] != (1,) or shapes["weight"][:-1] != (1,):
            raise ValueError(f"{file} holds {shapes}, no linear head: that has a weight (1, dim) and a bias (1,)")
        return cls(encoder, **head)

    def __call__(self, requests: Sequence[Request], images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, " n"]:
        """One score a picture; the requests do not matter."""
        # Not every encoder normalises its features, and LAION's head was fitted to features of length 1.
        features = F.normalize(self.encoder.encode_images(images), dim=-1)
        return F.linear(features, self.weight.to(features), self.bias.to(features))[:, 0]
