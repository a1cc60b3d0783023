"""What judges say of a system's pictures on people who were kept from its training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from generation.pictures import to_float
from generation.request import Generator
from generation.reward import Reward
from ragar_rec.evaluation.controls import ShuffledUserSampler
from ragar_rec.evaluation.frames import generator_frame, shuffled_user_requests
from ragar_rec.evaluation.people import training_requests
from ragar_rec.stages.system import System


def held_out_frame(
    system: System,
    judges: Mapping[str, Reward],
    seed: int,
    *,
    people: Sequence[int] | None = None,
    compared: Mapping[str, Generator] | None = None,
    most: int = 0,
) -> pd.DataFrame:
    """Scores of each person's last training item under v_gen, a stranger's picture, its own, and those compared.

    Args:
        system: who draws.
        judges: who scores, by name in the frame.
        seed: of pictures and strangers.
        people: internal ids; by default everybody on whom the generator is judged.
        compared: further generators, by control.
        most: people, at most; 0 takes all.

    Returns:
        See :func:`ragar_rec.evaluation.frames.generator_frame`.
    """
    dataset, pictures = system.ranker.dataset, system.pictures
    people = system.people.test if people is None else people
    requests = training_requests(dataset, people, pictures.pictured, seed)[: most or None]
    return generator_frame(
        system.generator,
        compared or {},
        to_float(pictures.images[pictures.rows([request.reference for request in requests])]),
        requests,
        shuffled_user_requests(requests, dataset, ShuffledUserSampler(dataset, seed, people), seed),
        judges,
        system=system.label,
        seed=seed,
        progress=system.workspace.progress,
    )
