"""Users and pictures that the report shows, drawn by seed and not by outcome."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from generation.pictures import to_float
from generation.request import Explanation, Request
from ragar_rec.config.sections import EvaluationConfig
from ragar_rec.evaluation.frames import BATCH, GlobalGenerator
from ragar_rec.evaluation.people import sample, training_requests
from ragar_rec.evaluation.protocols import Candidates, Task, tasks
from ragar_rec.evaluation.requests import RequestFactory
from ragar_rec.report.report import HistoryItem, Pair, Showcase
from ragar_rec.stages.ragar import RagarSystem

PAIRS = 24
"""References and generated pictures on the contact sheet."""


def showcases(system: RagarSystem, settings: EvaluationConfig) -> list[Showcase]:
    """A few users, each with the middle one of their candidates that have a picture."""
    ranker, dataset, seed = system.ranker, system.dataset, settings.seeds[0]
    people = sample(dataset, settings.users, seed)
    chosen = np.random.default_rng(seed).permutation(people)[: settings.report_users].tolist()
    pictured, shown = system.components.pictures.pictured, []
    for task in tasks(dataset, ranker.view, chosen):
        candidates = Candidates(settings.candidates).items(task).tolist()
        items = [item for item in candidates if str(dataset.item_tokens[item]) in pictured]
        if items:
            shown.append((task, items[len(items) // 2]))
    if not shown:
        return []
    request_of, generator = RequestFactory(dataset, seed), system.generator
    requests = [request_of((task.user, item)) for task, item in shown]
    v_gen, v_glob = generator.generate(requests), GlobalGenerator(generator).generate(requests)
    users = torch.tensor([task.user for task, _ in shown])
    with torch.no_grad():
        explanations = generator.encode_preference(requests).explanations
        scores = ranker.reward(requests, v_gen) * ranker.view.spread(users)
    return [
        _showcase(system, task, item, request, explanation, v_gen[i], v_glob[i], float(scores[i]))
        for i, ((task, item), request, explanation) in enumerate(zip(shown, requests, explanations, strict=True))
    ]


def _showcase(
    system: RagarSystem,
    task: Task,
    item: int,
    request: Request,
    explanation: Explanation,
    v_gen: Tensor,
    v_glob: Tensor,
    score: float,
) -> Showcase:
    catalog, items = system.components.pictures.catalog, np.array([item])
    weights = dict(zip(explanation.retrieved, explanation.weights, strict=True))
    history = request.history[-system.generator.config.history_length :]
    original = task.scores[torch.from_numpy(items)]
    return Showcase(
        user=request.user,
        history=[HistoryItem(_picture(system, past), catalog[past].title, weights.get(past)) for past in history],
        reference_title=catalog[request.reference].title,
        reference=_picture(system, request.reference),
        v_glob=v_glob,
        v_gen=v_gen,
        rank_original=int(task.ranks(items, original)[0]),
        rank_generated=int(task.ranks(items, torch.tensor([score]))[0]),
        keywords=explanation.keywords,
    )


def pairs(system: RagarSystem, seed: int) -> list[Pair]:
    """References beside what was generated from them, for users held out from training."""
    pictures, catalog = system.components.pictures, system.components.pictures.catalog
    requests = training_requests(system.dataset, system.people.test, pictures.pictured, seed)[:PAIRS]
    blocks = [requests[start : start + BATCH] for start in range(0, len(requests), BATCH)]
    generated = torch.cat([system.generator.generate(block) for block in blocks])
    return [
        Pair(_picture(system, request.reference), picture, f"{catalog[request.reference].title}, for {request.user}")
        for request, picture in zip(requests, generated, strict=True)
    ]


def _picture(system: RagarSystem, item: str) -> Any:
    """An item's own picture; None for a hole."""
    pictures, gallery = system.components.pictures, system.components.gallery
    return to_float(pictures.images[gallery.rows([item])])[0] if item in pictures.pictured else None
