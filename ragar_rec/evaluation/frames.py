"""Evaluation: a per-user frame for the protocols, for what the generator learned, and for how pictures differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from generation.pictures import to_float
from generation.ragar.ragar import Ragar
from generation.request import Generator, Request
from ragar_rec.evaluation.controls import Strangers
from ragar_rec.evaluation.people import request_seed
from ragar_rec.evaluation.per_user import COLUMNS, OWN
from ragar_rec.evaluation.protocols import Reranking, Source, Task, measure
from ragar_rec.evaluation.reward import RankerReward
from recsys.recbole.dataset import Dataset
from recsys.scoring.counterfactual import Counterfactual

BATCH = 64


SYSTEM = "RAGAR"


def protocol_frame(
    tasks: Sequence[Task],
    protocols: Sequence[Reranking],
    sources: Mapping[str, Source | None],
    view: Counterfactual,
    dataset: Dataset,
    *,
    k: int,
    judge: str,
    seed: int,
    progress: bool = True,
) -> pd.DataFrame:
    """Recall@k, NDCG@k and Delta R of every person, protocol and source (``None``: the original features)."""
    rows = []
    for protocol in protocols:
        for control, source in sources.items():
            bar = tqdm(tasks, desc=f"{protocol.name}: {control}", unit="user", disable=not progress, leave=False)
            for task in bar:
                user = str(dataset.user_tokens[task.user])
                for metric, value in measure(protocol, task, view, source, k).items():
                    rows.append((user, SYSTEM, protocol.name, control, judge, seed, metric, value))
    return pd.DataFrame(rows, columns=pd.Index(COLUMNS))


def stranger_requests(requests: Sequence[Request], dataset: Dataset, strangers: Strangers, seed: int) -> list[Request]:
    """The same references for other people: who never interacted with the item, and *her* training history."""
    changed = []
    for request in requests:
        other = strangers(dataset.user_id(request.user), np.array([dataset.item_id(request.reference)]))
        history = tuple(str(token) for token in dataset.item_tokens[dataset.history(other)])
        name = str(dataset.user_tokens[other])
        changed.append(Request(name, request.reference, history, request_seed(seed, name, request.reference)))
    return changed


def generate_in_batches(
    generator: Generator, requests: Sequence[Request], *, progress: bool = True, description: str = "pictures"
) -> Float[Tensor, "n 3 height width"]:
    """Pictures of many requests, in order.

    Raises:
        ValueError: there is no request.
    """
    if not requests:
        raise ValueError(f"{description}: nobody asks for a picture, because nobody has a pictured item with a history")
    starts = tqdm(range(0, len(requests), BATCH), desc=description, unit=f"x{BATCH}", disable=not progress)
    return torch.cat([generator.generate(requests[start : start + BATCH]) for start in starts])


class Global:
    """v_glob as a generator: the same request from E_g alone."""

    def __init__(self, ragar: Ragar) -> None:
        self.ragar = ragar

    def generate(self, requests: Sequence[Request]) -> Float[Tensor, "n 3 height width"]:
        """Pictures in [0, 1]."""
        return self.ragar.generate_global(requests)


def generator_frame(
    trained: Ragar,
    untrained: Ragar,
    requests: Sequence[Request],
    strangers: Sequence[Request],
    reward: RankerReward,
    *,
    judge: str,
    seed: int,
    progress: bool = True,
) -> pd.DataFrame:
    """Counterfactual score of each person's reference as v_gen, v_ref, v_glob, from the untrained generator, and as the
    picture made for somebody else; in standard deviations of the person's scores.
    """
    rows = trained.gallery.rows([request.reference for request in requests])
    pictures = {
        OWN: generate_in_batches(trained, requests, progress=progress, description="v_gen"),
        "reference_image": to_float(trained.gallery.images[rows]),
        "global": generate_in_batches(Global(trained), requests, progress=progress, description="v_glob"),
        "untrained": generate_in_batches(untrained, requests, progress=progress, description="untrained"),
        "shuffled_user": generate_in_batches(trained, strangers, progress=progress, description="for others"),
    }
    found = []
    for control, images in pictures.items():
        with torch.no_grad():
            scores = torch.cat(
                [
                    reward(requests[start : start + BATCH], images[start : start + BATCH])
                    for start in range(0, len(requests), BATCH)
                ]
            )
        found += [
            (request.user, SYSTEM, "generator", control, judge, seed, "score", float(score))
            for request, score in zip(requests, scores, strict=True)
        ]
    return pd.DataFrame(found, columns=pd.Index(COLUMNS))
