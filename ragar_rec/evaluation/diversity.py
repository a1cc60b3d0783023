"""How much one item's pictures differ between people, beside how much they differ between seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from generation.ragar.ragar import Ragar
from generation.request import Request
from ragar_rec.evaluation.frames import BATCH, SYSTEM, generate_in_batches
from ragar_rec.evaluation.people import request_seed
from ragar_rec.evaluation.per_user import COLUMNS, OWN
from ragar_rec.evaluation.reward import RankerReward


def diversity_frame(
    generator: Ragar,
    requests: Sequence[Request],
    reward: RankerReward,
    *,
    judge: str,
    seed: int,
    items: int = 20,
    people: int = 8,
    progress: bool = True,
) -> pd.DataFrame:
    """Mean pairwise distance of one item's pictures between ``people`` users, and between as many seeds of one of them.

    Distances: 1 - cosine of the ranker's centred features; root mean square of 4 x 6 thumbnails. Fewer requests than
    ``people`` make smaller groups; a single one makes no pair and an empty frame.
    """
    people = min(people, len(requests))
    if people < 2:
        return pd.DataFrame(columns=pd.Index(COLUMNS))
    rng = np.random.default_rng(seed)
    chosen = [requests[i] for i in rng.permutation(len(requests))[:items]]
    others = [[requests[i] for i in rng.permutation(len(requests))[:people]] for _ in chosen]
    asked: list[Request] = []
    for request, group in zip(chosen, others, strict=True):
        asked += [Request(other.user, request.reference, other.history, request.seed) for other in group]
        seeds = [request_seed(seed + n, "seeds", request.reference) for n in range(people)]
        asked += [Request(request.user, request.reference, request.history, own) for own in seeds]
    images = generate_in_batches(generator, asked, progress=progress, description="diversity")
    with torch.no_grad():
        features = torch.cat([reward.features(block) for block in images.split(BATCH)])
    thumbnails = F.interpolate(images, size=(6, 4), mode="area").flatten(1)
    rows = []
    for group in range(2 * len(chosen)):
        span = slice(group * people, (group + 1) * people)
        control = OWN if group % 2 == 0 else "seeds"
        item = f"item {chosen[group // 2].reference}"
        unit = F.normalize(features[span], dim=1)
        distances = {
            "feature_distance": _mean_pairwise(lambda a, b, u=unit: 1 - u[a] @ u[b], people),
            "thumbnail_distance": _mean_pairwise(
                lambda a, b, t=thumbnails[span]: ((t[a] - t[b]) ** 2).mean().sqrt(), people
            ),
        }
        rows += [(item, SYSTEM, "diversity", control, judge, seed, name, value) for name, value in distances.items()]
    frame = pd.DataFrame(rows, columns=pd.Index(COLUMNS))
    # An item that was drawn for several people is one line.
    return pd.DataFrame(frame.groupby(list(COLUMNS[:-1]), sort=False, as_index=False)["value"].mean())


def _mean_pairwise(distance: Callable[[int, int], Tensor], n: int) -> float:
    return float(np.mean([float(distance(a, b)) for a, b in combinations(range(n), 2)]))
