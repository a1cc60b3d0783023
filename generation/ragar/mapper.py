"""The modal mapper: from the LM's [IMG] features to rows of the diffusion model's condition (eq. 8)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ModalMapper(nn.Module):
    """A transformer encoder-decoder with learned queries between two linear layers, as in GILL (Koh et al. 2023).

    Its encoder also reads ``P_ret`` as one more row. The paper uses ``P_ret`` in a loss only (eq. 13), so that
    retrieval would do nothing when a picture is made; this row is how the retrieved pictures reach the generator.

    Args:
        in_width: of the LM's features.
        visual_width: of ``P_ret``.
        out_width: of the condition, e.g. 768.
        queries: rows that come out, e.g. 77.
        width, layers, heads: of the transformer (GILL: 512, 4 + 4, 4); feed-forward is ``4 * width``, norm first.

    Shapes:
        ``(batch, L, in_width)`` and ``(batch, visual_width)`` -> ``(batch, queries, out_width)``
    """

    def __init__(
        self,
        in_width: int,
        visual_width: int,
        out_width: int,
        *,
        queries: int,
        width: int = 512,
        layers: int = 4,
        heads: int = 4,
    ) -> None:
        super().__init__()
        self.enter = nn.Linear(in_width, width)
        self.enter_visual = nn.Linear(visual_width, width)
        self.queries = nn.Parameter(torch.randn(queries, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.transformer = nn.Transformer(
            d_model=width,
            nhead=heads,
            num_decoder_layers=layers,
            dim_feedforward=4 * width,
            dropout=0.0,
            batch_first=True,
            norm_first=True,
            # torch's own encoder would announce that norm_first keeps it from a fast path
            custom_encoder=nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False),
        )
        self.leave = nn.Linear(width, out_width)

    def forward(
        self, image_states: Float[Tensor, "batch tokens in_width"], visual: Float[Tensor, "batch visual_width"]
    ) -> Float[Tensor, "batch queries out_width"]:
        """As many rows as queries, from the [IMG] features and ``P_ret``."""
        memory = torch.cat([self.enter(image_states), self.enter_visual(visual)[:, None]], dim=1)
        queries = self.queries.expand(len(memory), -1, -1)
        return self.leave(self.transformer(memory, queries))
