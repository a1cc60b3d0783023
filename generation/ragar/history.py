"""Retrieval from the histories of a batch of requests (eq. 2-5), with the functions of `retrieval.py`."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from generation.gallery import Gallery
from generation.ragar import retrieval
from generation.ragar.config import RagarConfig
from generation.request import Request


class Retrieved(NamedTuple):
    """The retrieved items of each request, and the preference that they make."""

    rows: Int[Tensor, "batch k"]
    """Gallery rows of the retrieved items; any row where the weight is 0."""
    weights: Float[Tensor, "batch k"]
    """Retrieval weights (the softmax of eq. 5), 0 where a history has fewer than k items."""
    preference: Float[Tensor, "batch visual"]
    """P_ret (eq. 5)."""


def retrieve(
    gallery: Gallery,
    requests: Sequence[Request],
    config: RagarConfig,
    taste: Float[Tensor, "batch visual"] | None = None,
) -> Retrieved:
    """Retrieve the items of each user's history that are about the reference, and aggregate them to P_ret (eq. 2-5).

    The embeddings of eq. 2 and eq. 4 are the gallery's ``semantic`` and ``visual`` tables. With a ``taste`` a request,
    ``config.retrieval_taste`` is its share in the scores that choose and weigh the items.

    Raises:
        ValueError: a request has an empty history.
        KeyError: an item is not in the gallery.
    """
    rows, present = _padded_histories(gallery, requests, config.history_length)
    reference = gallery.semantic[gallery.rows([request.reference for request in requests])]
    scores = retrieval.similarities(reference, gallery.semantic[rows])
    if taste is not None and config.retrieval_taste:
        features = centred_features(gallery, rows) * gallery.pictured[rows][..., None]
        scores = retrieval.with_taste(scores, taste, features, present, config.retrieval_taste)
    ranking = _random_ranking(requests, rows.shape[1]) if config.history == "random" else scores
    offset = config.k if config.history == "next_k" else 0
    # k 0 leaves a row of padding, as a history does that is too short for next_k: nothing exists, every weight is 0.
    selected, exists = retrieval.select(ranking, present, max(config.k, 1), offset=offset)
    exists &= config.k > 0
    # Whatever chose the items, their weights come from these scores.
    weights = retrieval.retrieval_weights(
        scores.gather(1, selected), exists, temperature=config.temperature, normalization=config.normalization
    )
    retrieved = rows.gather(1, selected)
    preference = retrieval.aggregate(weights, centred_features(gallery, retrieved), gallery.pictured[retrieved])
    return Retrieved(retrieved, weights, preference)


def centred_features(gallery: Gallery, rows: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch visual"]:
    """Visual features of gallery rows, less the catalogue's mean (see :attr:`Gallery.mean_visual` for the reason)."""
    return gallery.visual[rows] - gallery.mean_visual


def _padded_histories(
    gallery: Gallery, requests: Sequence[Request], length: int
) -> tuple[Int[Tensor, "batch items"], Bool[Tensor, "batch items"]]:
    """Gallery rows of each request's last ``length`` items, padded behind to the longest, and which are no padding."""
    histories = [request.history[-length:] for request in requests]
    for request, history in zip(requests, histories, strict=True):
        if not history:
            raise ValueError(
                f"user {request.user} has an empty history: a preference needs at least one item before the reference"
            )
    longest = max(map(len, histories))
    rows = torch.zeros(len(requests), longest, dtype=torch.long)
    present = torch.zeros(len(requests), longest, dtype=torch.bool)
    for i, history in enumerate(histories):
        rows[i, : len(history)] = gallery.rows(history)
        present[i, : len(history)] = True
    return rows, present


def _random_ranking(requests: Sequence[Request], items: int) -> Float[Tensor, "batch items"]:
    """Random scores in place of similarities (figure 2's Random).

    Each request draws from its own seed, so that the result does not depend on the other requests of the batch.
    """
    generators = [torch.Generator().manual_seed(request.seed) for request in requests]
    return torch.stack([torch.rand(items, generator=generator) for generator in generators])
