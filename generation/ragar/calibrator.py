"""Eq. 9, the balance calibrator: joins the detailed preference E_d and the global preference E_g to P_gen."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from generation.ragar.config import CalibratorMode


class BalanceCalibrator(nn.Module):
    r"""Cross-attention of ``E_d`` on ``E_g``, a residual, and ``E_g`` behind it along the sequence (eq. 9).

    .. math:: P_{gen} = [E_d + \mathrm{MHA}(\mathrm{LN}(E_d), E_g, E_g);\; E_g]

    As printed, eq. 9 has no parameters (yet "we update the Balance Calibrator") and no residual (yet the text names
    one), so that ``E_d`` would enter through attention weights only. ``mode`` chooses:

    * ``residual_concat`` (default): the formula above;
    * ``residual``: without the concatenation;
    * ``literal``: eq. 9 as printed, without parameters.

    Each row of ``E_g`` has a weight, which multiplies the (unnormalised) attention that it gets: its logarithm is added
    to the logits. This is how a keyword's retrieval weight enters; weight 0 masks a (padding) row.

    Shapes:
        ``(batch, m, width)``, ``(batch, n, width)``, ``(batch, n)`` -> ``(batch, m + n, width)``; ``residual``
        gives ``m`` rows
    """

    def __init__(self, width: int, *, heads: int = 4, mode: CalibratorMode = "residual_concat") -> None:
        super().__init__()
        self.mode, self.width = mode, width
        if mode != "literal":
            self.norm = nn.LayerNorm(width)
            self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
            # With a zero output projection the layer begins as the identity on E_d.
            nn.init.zeros_(self.attention.out_proj.weight)
            nn.init.zeros_(self.attention.out_proj.bias)

    def forward(
        self,
        detail: Float[Tensor, "batch m width"],
        overall: Float[Tensor, "batch n width"],
        weights: Float[Tensor, "batch n"],
    ) -> Float[Tensor, "batch rows width"]:
        """``P_gen`` of ``E_d``, ``E_g`` and the weights of the rows of ``E_g``."""
        # A floor instead of log 0: -inf in every logit of a row would give NaN.
        bias = weights.clamp_min(1e-9).log()[:, None]  # (B, 1, n)
        if self.mode == "literal":
            attention = (detail @ overall.mT / self.width**0.5 + bias).softmax(-1)
            return torch.cat([attention @ overall, overall], dim=1)
        # torch wants one mask a head, (B * heads, m, n), the heads of one request side by side.
        mask = bias.expand(-1, detail.shape[1], -1).repeat_interleave(self.attention.num_heads, 0)
        attended, _ = self.attention(self.norm(detail), overall, overall, attn_mask=mask, need_weights=False)
        calibrated = detail + attended
        return torch.cat([calibrated, overall], dim=1) if self.mode == "residual_concat" else calibrated
