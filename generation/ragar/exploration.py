"""The exploration noise of eq. 12: along the principal directions of the warm-start preference."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from generation.ragar.policy import GaussianPolicy
from generation.ragar.ragar import Ragar
from generation.ragar.reflection_config import ReflectionConfig
from generation.request import Request

BATCH_SIZE = 32
"""Requests that are encoded at a time."""
MAX_REQUESTS = 512
"""Requests that the components are measured on: the SVD's cost grows with the square of their number."""


def principal_directions(
    ragar: Ragar, requests: Sequence[Request], rank: int
) -> tuple[Float[Tensor, "rank dims"], float]:
    """Principal components of the warm-start preference's detail rows over users.

    A random low-rank basis would be worse than none: most of its directions do not change the picture.

    Returns:
        Orthonormal components, the largest first, at most one fewer than there are requests; and the root mean square
        of the deviations along them.
    """
    with torch.no_grad():
        details = [
            ragar.encode_preference(requests[i : i + BATCH_SIZE]).detail.flatten(1)
            for i in range(0, len(requests), BATCH_SIZE)
        ]
    rows = torch.cat(details)  # (requests, rows * width)
    rank = min(rank, len(rows) - 1)  # centring takes one dimension away
    _, singular_values, components = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
    variances = singular_values[:rank] ** 2 / len(rows)
    return components[:rank].contiguous(), float(variances.mean().sqrt())


def build_policy(ragar: Ragar, requests: Sequence[Request], config: ReflectionConfig) -> GaussianPolicy:
    """The policy around the preference's detail rows; E_g is frozen and carries no noise.

    The components are measured whatever the noise mode: their deviation is the unit of ``config.sigma``.
    """
    basis, deviation = principal_directions(ragar, requests[:MAX_REQUESTS], config.rank)
    rows, width = ragar.detail_rows, ragar.backbone.width
    return GaussianPolicy(
        config.noise, rows, width, config.sigma * deviation, basis if config.noise == "low_rank" else None
    )
