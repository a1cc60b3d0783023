"""The optional KL term beside eq. 15: how far the preference has moved from the warm start's."""

import copy
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from generation.ragar.policy import GaussianPolicy
from generation.ragar.preference import Preference
from generation.ragar.ragar import Ragar
from generation.request import Request


class WarmStartDivergence:
    """KL(N(mu, sigma) || N(mu_0, sigma)) with mu_0 the preference of the generator as it was when this was made.

    Args:
        ragar: the generator after the warm start; its trained parts are copied.
        policy: whose sigma is the unit.
    """

    def __init__(self, ragar: Ragar, policy: GaussianPolicy) -> None:
        self.initial, self.policy = frozen_copy(ragar), policy

    def __call__(self, preference: Preference, requests: Sequence[Request]) -> Float[Tensor, ""]:
        """Mean divergence over the batch."""
        with torch.no_grad():
            mu_0 = self.initial.encode_preference(requests).detail
        return self.policy.divergence(preference.detail, mu_0).mean()


def frozen_copy(ragar: Ragar) -> Ragar:
    """A copy of the generator as it is now: trained parts are copied, frozen parts are shared."""
    shared = (
        ragar.backbone,
        ragar.gallery,
        ragar.language.model,
        ragar.language.tokenizer,
        *ragar.sampling_backbone.frozen,
    )
    # What deepcopy finds in its memo by id it takes as copied already.
    return copy.deepcopy(ragar, {id(part): part for part in shared})
