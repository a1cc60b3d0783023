"""Diversity: distances between one item's pictures for several users, beside those for several seeds of one user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from generation.request import Generator, Request
from ragar_rec.evaluation.frames import BATCH, generate_in_batches
from ragar_rec.evaluation.people import request_seed
from ragar_rec.evaluation.per_user import MEASURED, OWN
from ragar_rec.evaluation.reward import RankerReward

THUMBNAIL = (6, 4)
"""Height and width in pixels to which pictures are averaged before their colours are compared."""


def diversity_frame(
    generator: Generator,
    requests: Sequence[Request],
    reward: RankerReward,
    *,
    system: str,
    judge: str,
    seed: int,
    items: int = 20,
    people: int = 8,
    progress: bool = True,
) -> pd.DataFrame:
    """Mean pairwise distance of one item's pictures between ``people`` users, and between as many seeds of one of them.

    Distances: 1 - cosine of the ranker's centred features; root mean square of 4 x 6 thumbnails. Fewer requests than
    ``people`` make smaller groups; a single one makes no pair and an empty frame.

    Args:
        generator: draws the pictures.
        requests: their references and histories are combined anew.
        reward: its features are compared.
        system: the generator's name in the frame.
        judge: its name in the frame.
        seed: of the choice of items and users, and of the pictures.
        items: how many of the references are drawn.
        people: users, and seeds, for each of them.
        progress: show a bar.

    Returns:
        A frame of the protocol ``diversity``, whose column ``user`` names an item.
    """
    people = min(people, len(requests))
    if people < 2:
        return pd.DataFrame(columns=pd.Index(MEASURED))
    rng = np.random.default_rng(seed)
    chosen = [requests[i] for i in rng.permutation(len(requests))[:items]]
    groups = _groups(chosen, requests, people, rng, seed)
    combined = [request for group in groups for request in group]
    images = generate_in_batches(generator, combined, progress=progress, description="diversity")
    with torch.no_grad():
        features = torch.cat([reward.features(block) for block in images.split(BATCH)])
    thumbnails = F.interpolate(images, size=THUMBNAIL, mode="area").flatten(1)
    records = []
    for number in range(len(groups)):
        rows = slice(number * people, (number + 1) * people)
        control = OWN if number % 2 == 0 else "seeds"
        item = f"item {chosen[number // 2].reference}"
        distances = {
            "feature_distance": _mean_pairwise(F.normalize(features[rows], dim=1), lambda a, b: 1 - a @ b),
            "thumbnail_distance": _mean_pairwise(thumbnails[rows], lambda a, b: ((a - b) ** 2).mean().sqrt()),
        }
        records += [(item, system, "diversity", control, judge, seed, name, value) for name, value in distances.items()]
    frame = pd.DataFrame(records, columns=pd.Index(MEASURED))
    # Several users may have the same reference: its groups are averaged to one value.
    return pd.DataFrame(frame.groupby(list(MEASURED[:-1]), sort=False, as_index=False)["value"].mean())


def _groups(
    chosen: Sequence[Request], requests: Sequence[Request], people: int, rng: np.random.Generator, seed: int
) -> list[list[Request]]:
    """Two groups for each chosen request: its item for ``people`` users, then for its own user with as many seeds."""
    # The order of draws from `rng` is part of the result: the users of all groups, one group after the other.
    users = [[requests[i] for i in rng.permutation(len(requests))[:people]] for _ in chosen]
    groups: list[list[Request]] = []
    for request, others in zip(chosen, users, strict=True):
        # One seed for all users, so that the history is all that differs.
        groups.append([Request(other.user, request.reference, other.history, request.seed) for other in others])
        seeds = [request_seed(seed + n, "seeds", request.reference) for n in range(people)]
        groups.append([Request(request.user, request.reference, request.history, own_seed) for own_seed in seeds])
    return groups


def _mean_pairwise(vectors: Tensor, distance: Callable[[Tensor, Tensor], Tensor]) -> float:
    return float(np.mean([float(distance(a, b)) for a, b in combinations(vectors, 2)]))
