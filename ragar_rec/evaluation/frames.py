"""Per-user frames: ranks under the protocols, and scores that say what the generator learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from generation.ragar.ragar import Ragar
from generation.request import Generator, Request
from generation.reward import Reward
from ragar_rec.evaluation.controls import ShuffledUserSampler
from ragar_rec.evaluation.people import request_seed
from ragar_rec.evaluation.per_user import MEASURED, OWN
from ragar_rec.evaluation.protocols import EvaluationProtocol, FeatureSource, Task, measure
from recsys.recbole.dataset import Dataset
from recsys.scoring.counterfactual import Counterfactual

BATCH = 64
"""Pictures that are generated or scored at a time."""


def protocol_frame(
    tasks: Sequence[Task],
    protocols: Sequence[EvaluationProtocol],
    sources: Mapping[str, Sequence[FeatureSource | None]],
    view: Counterfactual,
    dataset: Dataset,
    *,
    k: int,
    system: str,
    judge: str,
    seed: int,
    progress: bool = True,
) -> pd.DataFrame:
    """Recall@k, NDCG@k and Delta R of every user, protocol and feature source.

    Args:
        tasks: the users.
        protocols: which of their items get new features.
        sources: new features by the name of their control, one source a draw; ``None`` stands for the original ones.
        view: the judge's counterfactual scores.
        dataset: the split.
        k: length of the list.
        system: the name of the system that drew the pictures.
        judge: the judge's name in the frame.
        seed: of the generated pictures, and of each control's first draw; the next have the next ones.
        progress: show a bar for each protocol and control.
    """
    rows = []
    for protocol in protocols:
        for control, draws in sources.items():
            bar = tqdm(tasks, desc=f"{protocol.name}: {control}", unit="user", disable=not progress, leave=False)
            for task in bar:
                user = str(dataset.user_tokens[task.user])
                for draw, metrics in enumerate(measure(protocol, task, view, draws, k), start=seed):
                    rows += [
                        (user, system, protocol.name, control, judge, draw, metric, value)
                        for metric, value in metrics.items()
                    ]
    return pd.DataFrame(rows, columns=pd.Index(MEASURED))


def shuffled_user_requests(
    requests: Sequence[Request], dataset: Dataset, shuffled_user: ShuffledUserSampler, seed: int
) -> list[Request]:
    """The same references for other users, each with the other user's own training history.

    The other user never interacted with the reference, see :class:`ShuffledUserSampler`.
    """
    shuffled = []
    for request in requests:
        other = shuffled_user(dataset.user_id(request.user), np.array([dataset.item_id(request.reference)]))
        history = tuple(str(token) for token in dataset.item_tokens[dataset.history(other)])
        token = str(dataset.user_tokens[other])
        shuffled.append(Request(token, request.reference, history, request_seed(seed, token, request.reference)))
    return shuffled


def generate_in_batches(
    generator: Generator, requests: Sequence[Request], *, progress: bool = True, description: str = "pictures"
) -> Float[Tensor, "n 3 height width"]:
    """Generate the pictures of many requests, :data:`BATCH` at a time; they come in the order of the requests.

    Raises:
        ValueError: there is no request.
    """
    if not requests:
        raise ValueError(f"{description}: there is no request, as no user has a pictured item with a history")
    starts = tqdm(range(0, len(requests), BATCH), desc=description, unit=f"x{BATCH}", disable=not progress)
    return torch.cat([generator.generate(requests[start : start + BATCH]) for start in starts])


class GlobalGenerator:
    """A generator of v_glob: it conditions on the keywords (E_g) alone and ignores the rest of the preference."""

    def __init__(self, ragar: Ragar) -> None:
        self.ragar = ragar

    def generate(self, requests: Sequence[Request]) -> Float[Tensor, "n 3 height width"]:
        """Pictures in [0, 1]."""
        return self.ragar.generate_global(requests)


def generator_frame(
    generator: Generator,
    compared: Mapping[str, Generator],
    references: Float[Tensor, "n 3 height width"],
    requests: Sequence[Request],
    shuffled: Sequence[Request],
    judges: Mapping[str, Reward],
    *,
    system: str,
    seed: int,
    progress: bool = True,
) -> pd.DataFrame:
    """Counterfactual score of each request's reference under v_gen and under the pictures that v_gen is compared with.

    Args:
        generator: the system's own.
        compared: further generators of the same requests, by control.
        references: the references' own pictures.
        requests: one per user.
        shuffled: the same references for other users, in the same order; their pictures are scored for the users of
            ``requests``.
        judges: who scores, by name in the frame: rankers' rewards, or others.
        system: the system's name in the frame.
        seed: of the requests.
        progress: show bars.

    Returns:
        A per-user frame of the protocol ``generator``. A ranker's scores are in standard deviations of the user's own.
    """
    # Drawn one after the other, so that the pictures of one control at a time are in memory.
    pictures: dict[str, Callable[[], Tensor]] = {
        OWN: lambda: generate_in_batches(generator, requests, progress=progress, description="v_gen"),
        "reference_image": lambda: references,
        **{
            control: partial(generate_in_batches, other, requests, progress=progress, description=control)
            for control, other in compared.items()
        },
        "shuffled_user": lambda: generate_in_batches(generator, shuffled, progress=progress, description="for others"),
    }
    records = []
    for control, draw in pictures.items():
        images = draw()
        for judge, reward in judges.items():
            with torch.no_grad():
                scores = torch.cat(
                    [
                        reward(requests[start : start + BATCH], images[start : start + BATCH])
                        for start in range(0, len(requests), BATCH)
                    ]
                )
            records += [
                (request.user, system, "generator", control, judge, seed, "score", float(score))
                for request, score in zip(requests, scores, strict=True)
            ]
    return pd.DataFrame(records, columns=pd.Index(MEASURED))
