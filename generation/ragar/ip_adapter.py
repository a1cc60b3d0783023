"""The retrieved pictures as a second condition, by IP-Adapter (Ye et al. 2023). Ours; the paper has no such path."""

from typing import Any

import torch
from torch import Tensor

from generation.gallery import Gallery
from generation.pictures import to_pil
from generation.request import Explanation


def has_ip_adapter(pipeline: Any) -> bool:
    """Whether a diffusers pipeline has an image encoder and an IP-Adapter loaded."""
    return pipeline.image_encoder is not None and hasattr(pipeline.unet.encoder_hid_proj, "image_projection_layers")


def retrieved_image_embeds(
    pipeline: Any, gallery: Gallery, explanation: Explanation, *, guidance: bool
) -> list[Tensor]:
    """For each adapter of the pipeline, the weighted mean of the retrieved pictures' image embeddings.

    Args:
        pipeline: encodes the pictures.
        gallery: holds them.
        explanation: the retrieved items and their weights; items without a picture leave their weight to the others.
        guidance: whether the negative embedding precedes the positive one in the batch dimension.

    Raises:
        ValueError: no retrieved item has a picture.
    """
    rows = gallery.rows(explanation.retrieved)
    weights = torch.tensor(explanation.weights) * gallery.pictured[rows]
    if not weights.sum() > 0:
        raise ValueError(
            f"none of the retrieved items ({', '.join(explanation.retrieved)}) has a picture for the IP-Adapter"
        )
    rows, weights = rows[weights > 0], weights[weights > 0] / weights.sum()
    n_adapters = len(pipeline.unet.encoder_hid_proj.image_projection_layers)
    pictures = [to_pil(picture) for picture in gallery.images[rows]]
    # diffusers takes a list of pictures for each adapter, and returns (1 or 2 with guidance, pictures, ...) for each.
    embeds = pipeline.prepare_ip_adapter_image_embeds([pictures] * n_adapters, None, pipeline.device, 1, guidance)
    return [torch.einsum("gk...,k->g...", adapter, weights.to(adapter))[:, None] for adapter in embeds]
