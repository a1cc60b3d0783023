"""From the text encoder's space to that of pictures, where the two have not been trained to be one (eq. 13)."""

import torch
from jaxtyping import Float
from torch import Tensor

from generation.backbone.backbone import Backbone
from generation.gallery import Gallery


def fit_projection(
    backbone: Backbone, gallery: Gallery, *, ridge: float = 0.01, batch_size: int = 32
) -> Float[Tensor, "width dim"]:
    """Ridge regression of the pictures' centred visual features on their captions' mean text states, then frozen.

    Eq. 13 compares P_gen, rows of the text encoder's width, with P_ret, a visual feature. A dual encoder brings the
    projection along; for any other visual encoder this is ours: trained together with the generator it could cheat, at
    random it would mean nothing, and this one says which picture the words of the catalogue go with.

    Args:
        backbone: whose text encoder reads the captions.
        gallery: the pictures to learn from.
        ridge: the penalty, in units of the states' mean squared singular value.
        batch_size: captions at a time.
    """
    rows = gallery.pictured.nonzero()[:, 0]
    captions = [gallery.captions[row] for row in rows.tolist()]
    parts = [backbone.states(captions[i : i + batch_size]).mean(1) for i in range(0, len(captions), batch_size)]
    states = torch.cat(parts).cpu().double()  # (n, width)
    features = (gallery.visual[rows] - gallery.mean_visual).double()  # (n, dim)
    gram = states.T @ states
    penalty = ridge * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    return torch.linalg.solve(gram + penalty, states.T @ features).float()
