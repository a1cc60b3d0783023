"""What a call of `RagarPipeline` returns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from generation.backbone.backbone import BaseOutput
from generation.pictures import to_pil
from generation.request import Explanation

OUTPUT_TYPES = ("pil", "pt", "np")
"""PIL images; a tensor (n, 3, height, width); an array (n, height, width, 3). Both in [0, 1]."""


def converted(images: Float[Tensor, "n 3 height width"], output_type: str) -> Any:
    """Pictures in one of the :data:`OUTPUT_TYPES`, to the last bit as diffusers converts them."""
    if output_type == "pil":
        return [to_pil(image) for image in images]
    return images if output_type == "pt" else images.permute(0, 2, 3, 1).cpu().numpy()


@dataclass
class RagarOutput(BaseOutput):
    """Pictures and their explanations; entry ``i`` of every list belongs to picture ``i``."""

    images: Any
    """As ``output_type`` says: see :data:`OUTPUT_TYPES`."""
    retrieved: list[tuple[str, ...]]
    """Items of the history that were used, those of the heaviest reference first."""
    weights: list[tuple[float, ...]]
    """Their weights, which sum to 1."""
    keywords: list[tuple[str, ...]]
    seeds: list[int | None]
    """Seeds that reproduce each picture; None where its generator had drawn before, or also drew other pictures."""

    @classmethod
    def explained(cls, images: Any, explanations: Sequence[Explanation], seeds: list[int | None]) -> "RagarOutput":
        """The output with the columns of the explanations, one for each picture."""
        return cls(
            images,
            [explanation.retrieved for explanation in explanations],
            [explanation.weights for explanation in explanations],
            [explanation.keywords for explanation in explanations],
            seeds,
        )
