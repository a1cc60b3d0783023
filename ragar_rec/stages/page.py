"""The page: what a run has to show, gathered for the report."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from generation.pictures import to_float
from generation.request import Request
from ragar_rec.evaluation.frames import BATCH, Global
from ragar_rec.evaluation.people import sample
from ragar_rec.evaluation.per_user import OWN
from ragar_rec.evaluation.protocols import Candidates, Task, tasks
from ragar_rec.evaluation.requests import Requests
from ragar_rec.evaluation.results import Results, Row
from ragar_rec.experiment import Run
from ragar_rec.report.plots import Curve
from ragar_rec.report.report import CurveGroup, HistoryItem, Pair, Report, Showcase
from ragar_rec.report.tables import tables
from ragar_rec.store.curves import read_curves

RENDERED = (
    "Interactions, titles and genres are real (MovieLens-100k). The covers are rendered by this library from genres, "
    "decade and title; they are no film posters."
)


def build(run: Run, results: Results) -> Report:
    """The report of a run whose results are there."""
    settings = run.config.evaluation
    shown = _showcases(run)
    small = (
        f"{settings.users or 'All'} people, C = {settings.candidates}, {run.config.generator.steps} sampling steps at "
        f"strength {run.config.generator.strength}, seeds {', '.join(map(str, settings.seeds))}."
    )
    return Report(
        title="Would personalised pictures help?",
        subtitle=f"{run.name}. {RENDERED if run.config.catalog.preparer == 'ml-100k' else ''}".strip(),
        summary=[*_summary(results.rows, settings.k), small],
        tables=tables(results.rows),
        curves=_curves(run),
        showcases=shown,
        pairs=_pairs(run),
        provenance=_provenance(results),
        seconds=run.store.seconds(),
        notes=[
            "Under `reference` the item that is about to be tested is the only one with a new picture: any new picture "
            "may lift it. Only `candidates`, where nobody knows the target, says what production would see.",
            "A gain is personal as far as it exceeds `shuffled_user`: the picture made for somebody else.",
            "Each person below is shown with the middle one of her candidates; its rank changes for this item alone.",
            "The judge is the ranker that gave the reward; no independent judge has looked yet.",
        ],
    )


def _summary(rows: tuple[Row, ...], k: int) -> list[str]:
    said = []
    for protocol, metric in (("candidates", f"ndcg@{k}"), ("reference", f"recall@{k}")):
        for row in rows:
            if (row.protocol, row.metric, row.control, row.compared_with) == (protocol, metric, OWN, "original"):
                said.append(
                    f"`{protocol}`: {metric.replace('@', ' at ').replace('ndcg', 'NDCG').replace('recall', 'Recall')} "
                    f"changes by {row.value:+.4f} [{row.low:+.4f}, {row.high:+.4f}] against the original pictures."
                )
    for row in rows:
        if row.protocol == "generator" and row.control == OWN and row.compared_with in ("untrained", "shuffled_user"):
            name = {
                "untrained": "the generator before any reward",
                "shuffled_user": "the picture made for somebody else",
            }
            said.append(
                f"On people it was not trained on, the score of the trained generator's picture less that of "
                f"{name[row.compared_with]} is {row.value:+.3f} [{row.low:+.3f}, {row.high:+.3f}] standard deviations."
            )
    return said


def _provenance(results: Results) -> dict[str, str]:
    run: dict[str, Any] = dict(results.run or {})
    versions = ", ".join(f"{name} {number}" for name, number in run.get("versions", {}).items())
    return {"command": run.get("command", ""), "machine": run.get("machine", ""), "versions": versions}


def _curves(run: Run) -> list[CurveGroup]:
    groups = []
    history = run.ranker.history
    measured = [row for row in history if "loss.bpr" in row]
    losses = [Curve("BPR", [row["epoch"] for row in measured], [row["loss.bpr"] for row in measured])]
    metric = str(run.config.recbole.get("valid_metric", "Recall@20")).lower()
    known = [row for row in history if f"valid.{metric}" in row]
    curve = Curve(metric, [row["epoch"] for row in known], [row[f"valid.{metric}"] for row in known])
    groups.append(CurveGroup("Ranker: loss", losses if measured else [], note="by epoch"))
    groups.append(CurveGroup(f"Ranker: validation {metric}", [curve] if known else [], note="by epoch"))
    for folder in (*run.small_models.values(), run.warm_folder, run.generator_folder):
        by_title: dict[str, list[Curve]] = {}
        for name, values in read_curves(folder).items():
            title, _, label = name.partition(": ")
            curve = Curve(label, [step for step, _ in values], [value for _, value in values])
            by_title.setdefault(title[0].upper() + title[1:], []).append(curve)
        groups += [CurveGroup(title, curves) for title, curves in by_title.items()]
    return [group for group in groups if group.curves]


def _showcases(run: Run) -> list[Showcase]:
    """A few people, drawn by seed and not by outcome, each with the middle one of her candidates."""
    settings = run.config.evaluation
    dataset, seed = run.dataset, settings.seeds[0]
    people = sample(dataset, settings.users, seed)
    chosen = np.random.default_rng(seed).permutation(people)[: settings.report_users].tolist()
    make, found = Requests(dataset, seed), []
    for task in tasks(dataset, run.view, chosen):
        listed = Candidates(settings.candidates).items(task).tolist()
        items = [item for item in listed if str(dataset.item_tokens[item]) in run.pictured]
        if items:
            found.append((task, items[len(items) // 2]))
    if not found:
        return []
    requests = [make((task.user, item)) for task, item in found]
    generated, overall = run.generator.generate(requests), Global(run.generator).generate(requests)
    with torch.no_grad():
        explained = run.generator.encode_preference(requests).explanations
        new = run.reward(requests, generated) * run.view.spread(torch.tensor([task.user for task, _ in found]))
    return [
        _showcase(run, task, item, request, why, generated[i], overall[i], float(new[i]))
        for i, ((task, item), request, why) in enumerate(zip(found, requests, explained, strict=True))
    ]


def _showcase(
    run: Run, task: Task, item: int, request: Request, why: Any, v_gen: torch.Tensor, v_glob: torch.Tensor, score: float
) -> Showcase:
    weights = dict(zip(why.retrieved, why.weights, strict=True))
    history = request.history[-run.config.generator.history_length :]
    items = np.array([item])
    before = int(task.ranks(items, task.scores[torch.from_numpy(items)])[0])
    after = int(task.ranks(items, torch.tensor([score]))[0])
    return Showcase(
        user=request.user,
        history=[HistoryItem(_picture(run, past), run.catalog[past].title, weights.get(past)) for past in history],
        reference_title=run.catalog[request.reference].title,
        reference=_picture(run, request.reference),
        v_glob=v_glob,
        v_gen=v_gen,
        rank_original=before,
        rank_generated=after,
        keywords=why.keywords,
    )


def _picture(run: Run, item: str) -> Any:
    return to_float(run.images[run.gallery.rows([item])])[0] if item in run.pictured else None


def _pairs(run: Run) -> list[Pair]:
    """A contact sheet of people kept from training, first come first shown."""
    from ragar_rec.evaluation.people import training_requests

    seed = run.config.evaluation.seeds[0]
    requests = training_requests(run.dataset, run.people.test, run.pictured, seed)[:24]
    pictures = torch.cat([run.generator.generate(requests[i : i + BATCH]) for i in range(0, len(requests), BATCH)])
    return [
        Pair(_picture(run, request.reference), picture, f"{run.catalog[request.reference].title}, for {request.user}")
        for request, picture in zip(requests, pictures, strict=True)
    ]
