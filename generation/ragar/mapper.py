"""Eq. 8, the modal mapper phi_m: from the language model's [IMG] features to rows of the diffusion condition."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ModalMapper(nn.Module):
    """A transformer encoder-decoder with learned queries between two linear layers, as in GILL (Koh et al. 2023).

    Its encoder also reads ``P_ret`` as one more row. The paper uses ``P_ret`` in a loss only (eq. 13), so that
    retrieval would have no effect at inference; this row is how the retrieved pictures reach the generator.

    Args:
        in_width: width of the language model's features.
        visual_width: width of ``P_ret``.
        out_width: width of the condition, e.g. 768.
        queries: number of output rows, e.g. 77.
        width, layers, heads: of the transformer (GILL: 512, 4 + 4, 4); feed-forward is ``4 * width``, norm first.
        adds: whether the rows are added to others, so that they must be zeros at first.

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
        adds: bool = False,
    ) -> None:
        super().__init__()
        self.enter = nn.Linear(in_width, width)
        self.enter_visual = nn.Linear(visual_width, width)
        self.queries = nn.Parameter(torch.randn(queries, width) * 0.02)  # the usual scale of token embeddings
        # No dropout: the mapper gives the same rows in training and at inference.
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.transformer = nn.Transformer(
            d_model=width,
            nhead=heads,
            num_decoder_layers=layers,
            dim_feedforward=4 * width,
            dropout=0.0,
            batch_first=True,
            norm_first=True,
            # nn.Transformer's own encoder warns that norm_first rules out nested tensors; this one does not use them.
            custom_encoder=nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False),
        )
        self.leave = nn.Linear(width, out_width)
        if adds:
            nn.init.zeros_(self.leave.weight)
            nn.init.zeros_(self.leave.bias)

    def forward(
        self, image_states: Float[Tensor, "batch tokens in_width"], visual: Float[Tensor, "batch visual_width"]
    ) -> Float[Tensor, "batch queries out_width"]:
        """phi_m(E_img) of eq. 8: one row for each query, from the [IMG] features and ``P_ret``."""
        memory = torch.cat([self.enter(image_states), self.enter_visual(visual)[:, None]], dim=1)
        queries = self.queries.expand(len(memory), -1, -1)
        return self.leave(self.transformer(memory, queries))
