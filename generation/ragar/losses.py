"""L_cal (eq. 13) and L_sem (eq. 14): the calibration loss and the semantic loss."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from generation.ragar.preference import Preference
from generation.ragar.ragar import Ragar


def calibrator_loss(ragar: Ragar, preference: Preference) -> Float[Tensor, ""]:
    """L_cal (eq. 13): P_gen against P_ret, compared in the dual encoder's joint space.

    The paper subtracts a pooled vector from a sequence. Here the rows of P_gen that are not frozen are mean-pooled and
    projected by the dual encoder's own text projection (a trained one could minimise the loss by itself, a random one
    is meaningless); both sides are scaled to length 1; no gradient into P_ret. Mean over dimensions, not the sum.
    Where the backbone has rows of pictures, P_ret has rows itself: those of P_gen are compared with them one by one.
    """
    if ragar.backbone.picture_tokens is not None:
        retrieved = ragar.picture_rows(preference.retrieved).detach()
        rows = preference.detail[:, -retrieved.shape[1] :]
        return F.mse_loss(F.normalize(rows, dim=-1), F.normalize(retrieved, dim=-1))
    # Without E_g's rows: they are frozen, and would only dilute the mean.
    pooled = preference.detail.mean(1) @ ragar.text_projection
    return F.mse_loss(F.normalize(pooled, dim=-1), F.normalize(preference.retrieved, dim=-1).detach())


def semantic_loss(
    preference: Preference, states: Float[Tensor, "batch context width"], *, pictures: bool = False
) -> Float[Tensor, ""]:
    """L_sem (eq. 14): E_d against the text encoder's states of the reference's caption. Mean over dimensions.

    There are as many mapped rows as states: they are compared row by row. The projected prompt rows are compared by
    their mean. E_d is the calibrator's input, so this term reaches mapper, [IMG] rows and projection, not the
    calibrator. With ``pictures`` the mapped rows are those of pictures, which no caption's states are like: the prompt
    rows alone are compared, and the reference itself stands beside the noise.
    """
    words = F.mse_loss(preference.text.mean(1), states.mean(1))
    return words if pictures else F.mse_loss(preference.mapped, states) + words
