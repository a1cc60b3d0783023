"""For eq. 13: a projection from the text encoder's space to a visual encoder that was not trained with it."""

import torch
from jaxtyping import Float
from torch import Tensor

from generation.backbone.backbone import Backbone
from generation.gallery import Gallery


def fit_projection(
    backbone: Backbone, gallery: Gallery, *, ridge: float = 0.01, batch_size: int = 32
) -> Float[Tensor, "width dim"]:
    """Ridge regression of the pictures' centred visual features on their captions' mean text states.

    Eq. 13 compares P_gen, rows of the text encoder's width, with P_ret, a visual feature. A dual encoder has a
    projection between the two. For any other visual encoder this is ours: a projection trained with the generator
    could minimise the loss by itself, a random one is meaningless, this one is fitted to the catalogue and frozen.

    Args:
        backbone: its text encoder encodes the captions.
        gallery: the pictures and captions to fit.
        ridge: the penalty, in units of the states' mean squared singular value.
        batch_size: captions that are encoded at a time.
    """
    rows = gallery.pictured.nonzero()[:, 0]
    captions = [gallery.captions[row] for row in rows.tolist()]
    means = [backbone.states(captions[i : i + batch_size]).mean(1) for i in range(0, len(captions), batch_size)]
    # In float64: the normal equations square the condition number.
    states = torch.cat(means).cpu().double()  # (n, width)
    features = (gallery.visual[rows] - gallery.mean_visual).double()  # (n, dim)
    gram = states.T @ states
    penalty = ridge * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    return torch.linalg.solve(gram + penalty, states.T @ features).float()
