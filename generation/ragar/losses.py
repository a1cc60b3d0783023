"""L_cal and L_sem: the calibration and the semantic loss (eq. 13-14)."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from generation.ragar.preference import Preference
from generation.ragar.ragar import Ragar


def calibrator_loss(ragar: Ragar, preference: Preference) -> Float[Tensor, ""]:
    """L_cal (eq. 13): P_gen against P_ret, compared in the dual encoder's joint space.

    The paper subtracts a pooled vector from a sequence. Here the non-frozen rows are mean-pooled and go through the
    dual encoder's own text projection (a trained one could cheat, a random one means nothing); both sides are
    normalised; no gradient into P_ret. Mean over dimensions.
    """
    pooled = preference.detail.mean(1) @ ragar.text_projection
    return F.mse_loss(F.normalize(pooled, dim=-1), F.normalize(preference.retrieved, dim=-1).detach())


def semantic_loss(preference: Preference, states: Float[Tensor, "batch context width"]) -> Float[Tensor, ""]:
    """L_sem (eq. 14): E_d against the text encoder's states of the reference's caption.

    The mapper's rows are as many as the states and are compared row by row, the projected prompt rows as a mean.
    E_d is the calibrator's input, so this term reaches mapper, [IMG] rows and projection, not the calibrator.
    """
    return F.mse_loss(preference.mapped, states) + F.mse_loss(preference.text.mean(1), states.mean(1))
