"""Users and pictures that the report shows, drawn by seed and not by outcome."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from generation.pictures import to_float
from generation.request import Explanation, Request
from ragar_rec.config.sections import EvaluationConfig
from ragar_rec.evaluation.frames import BATCH
from ragar_rec.evaluation.people import sample, training_requests
from ragar_rec.evaluation.protocols import Candidates, Task, tasks
from ragar_rec.evaluation.requests import RequestFactory
from ragar_rec.report.report import HistoryItem, Pair, Showcase
from ragar_rec.stages.system import System

PAIRS = 24
"""References and generated pictures on the contact sheet."""
NOTHING = Explanation((), (), ())
"""The explanation by a system that gives none."""


def showcases(system: System, settings: EvaluationConfig, history_length: int) -> list[Showcase]:
    """A few users, each with the middle one of their candidates that have a picture.

    Args:
        system: who draws.
        settings: how many users, and their candidates.
        history_length: items of a history that are shown, the latest.
    """
    ranker, dataset, seed = system.ranker, system.ranker.dataset, settings.seeds[0]
    people = sample(dataset, settings.users, seed)
    chosen = np.random.default_rng(seed).permutation(people)[: settings.report_users].tolist()
    pictured, shown = system.pictures.pictured, []
    for task in tasks(dataset, ranker.view, chosen):
        candidates = Candidates(settings.candidates).items(task).tolist()
        items = [item for item in candidates if str(dataset.item_tokens[item]) in pictured]
        if items:
            shown.append((task, items[len(items) // 2]))
    if not shown:
        return []
    request_of = RequestFactory(dataset, seed)
    requests = [request_of((task.user, item)) for task, item in shown]
    v_gen, overall = system.generator.generate(requests), system.compared.get("global")
    v_glob = None if overall is None else overall.generate(requests)
    users = torch.tensor([task.user for task, _ in shown])
    with torch.no_grad():
        scores = ranker.reward(requests, v_gen) * ranker.view.spread(users)
    explanations = system.explain(requests) or [NOTHING] * len(requests)
    return [
        _showcase(
            system,
            task,
            item,
            replace(request, history=request.history[-history_length:]),
            explanations[i],
            v_gen[i],
            None if v_glob is None else v_glob[i],
            float(scores[i]),
        )
        for i, ((task, item), request) in enumerate(zip(shown, requests, strict=True))
    ]


def _showcase(
    system: System,
    task: Task,
    item: int,
    request: Request,
    explanation: Explanation,
    v_gen: Tensor,
    v_glob: Tensor | None,
    score: float,
) -> Showcase:
    catalog, items = system.pictures.catalog, np.array([item])
    weights = dict(zip(explanation.retrieved, explanation.weights, strict=True))
    original = task.scores[torch.from_numpy(items)]
    return Showcase(
        user=request.user,
        history=[
            HistoryItem(_picture(system, past), catalog[past].title, weights.get(past)) for past in request.history
        ],
        reference_title=catalog[request.reference].title,
        reference=_picture(system, request.reference),
        v_glob=v_glob,
        v_gen=v_gen,
        rank_original=int(task.ranks(items, original)[0]),
        rank_generated=int(task.ranks(items, torch.tensor([score]))[0]),
        keywords=explanation.keywords,
    )


def pairs(system: System, seed: int) -> list[Pair]:
    """References beside what was generated from them, for users held out from training."""
    pictures, catalog = system.pictures, system.pictures.catalog
    requests = training_requests(system.ranker.dataset, system.people.test, pictures.pictured, seed)[:PAIRS]
    blocks = [requests[start : start + BATCH] for start in range(0, len(requests), BATCH)]
    generated = [picture for block in blocks for picture in system.generator.generate(block)]
    return [
        Pair(
            _picture(system, request.reference),
            picture,
            f"{catalog[request.reference].title}, for {request.user}",
            _mask(system, request.reference),
        )
        for request, picture in zip(requests, generated, strict=True)
    ]


def _mask(system: System, item: str) -> Any:
    """The mask of what is kept of an item's picture, in grey; None where the system keeps nothing."""
    if system.masks is None:
        return None
    kept = system.masks.kept[system.pictures.rows([item])]
    return (kept / 255).expand(3, -1, -1)


def _picture(system: System, item: str) -> Any:
    """An item's own picture; None for a hole."""
    pictures = system.pictures
    return to_float(pictures.images[pictures.rows([item])])[0] if item in pictures.pictured else None
