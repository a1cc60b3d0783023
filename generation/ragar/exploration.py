"""The noise of the reward phase: principal directions of the warm-start preference."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from generation.ragar.policy import GaussianPolicy
from generation.ragar.ragar import Ragar
from generation.ragar.reflection_config import ReflectionConfig
from generation.request import Request


def principal_directions(
    ragar: Ragar, requests: Sequence[Request], rank: int
) -> tuple[Float[Tensor, "rank dims"], float]:
    """Orthonormal principal components of the warm-start preference's detail rows over users, and their mean deviation.

    A random low-rank basis is worse than none: it mostly points where pictures do not change.
    """
    with torch.no_grad():
        rows = torch.cat(
            [ragar.encode_preference(requests[i : i + 32]).detail.flatten(1) for i in range(0, len(requests), 32)]
        )
    rank = min(rank, len(rows) - 1)
    _, values, vectors = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
    return vectors[:rank].contiguous(), float((values[:rank] ** 2 / len(rows)).mean().sqrt())


def build_policy(ragar: Ragar, requests: Sequence[Request], config: ReflectionConfig) -> GaussianPolicy:
    """The noise of the reward phase around the preference's detail rows; E_g is frozen and carries none."""
    basis, deviation = principal_directions(ragar, requests[:512], config.rank)
    rows, width = ragar.backbone.context + ragar.config.text_rows, ragar.backbone.width
    return GaussianPolicy(
        config.noise, rows, width, config.sigma * deviation, basis if config.noise == "low_rank" else None
    )
