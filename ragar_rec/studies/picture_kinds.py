"""Kinds of pictures whose fidelity is measured: real ones, the backbone's own, and the generator's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

from generation.pictures import to_float
from generation.ragar.ragar import Ragar
from generation.request import Request
from ragar_rec.evaluation.frames import BATCH, GlobalGenerator, generate_in_batches
from ragar_rec.evaluation.people import request_seed, training_requests
from ragar_rec.experiment import Experiment
from ragar_rec.studies.edits import rendered
from ragar_rec.studies.sheets import save_sheet

REAL, RECONSTRUCTION = "real at the generator's size", "reconstruction"
OWN, ANOTHERS = "by its own condition", "by another's condition"
"""By the backbone alone: each reference by its caption (and feature, if that is read), and by the next one's."""


@dataclass(frozen=True)
class FidelitySettings:
    """Which pictures are drawn, and how."""

    n: int = 1000
    """Pictures of each kind, and real ones that they are compared with; fewer if fewer were held out."""
    steps: int = 10
    """Denoising steps of the backbone's own samples from noise."""
    guidance_scale: float = 2.0
    """Guidance of its conditional samples."""
    references: int = 8
    """Rows of the sheet of people."""
    people: int = 5
    """People on it, for each of whom every reference is rendered."""
    draw_seed: int = 0
    """Of the people and pictures that are chosen, and of the noise."""


@dataclass(frozen=True)
class Selection:
    """Rows of the catalogue: two disjoint sets of real pictures, and what the backbone was trained on."""

    judges: list[int]
    """What every kind is compared with."""
    others: list[int]
    """The floor; their captions condition the samples, and they are the references of v_gen."""
    training: list[int]

    @property
    def references(self) -> Tensor:
        """Position of each of ``others`` in ``training``; -1 if it was held out."""
        position = {row: at for at, row in enumerate(self.training)}
        return torch.tensor([position.get(row, -1) for row in self.others])


def divided_rows(run: Experiment) -> tuple[list[int], list[int]]:
    """Rows of the pictures that the backbone learned, and of those held out from it (``backbone.held_out``)."""
    return run.pictures.divided(run.config.backbone.held_out, run.config.backbone.seed)


def select(training: list[int], held_out: list[int], n: int, seed: int) -> Selection:
    """Draw two sets of ``n`` pictures from the held-out ones if there are any, else from the training pictures.

    Raises:
        ValueError: there are too few for two sets.
    """
    rows = held_out or training
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
    n = min(n, len(rows) // 2)
    if n < 2:
        raise ValueError(f"{len(rows)} pictures make no two sets of at least 2: raise backbone.held_out")
    chosen = [rows[at] for at in order[: 2 * n]]
    return Selection(chosen[:n], chosen[n:], training)


def draw_kinds(run: Experiment, selection: Selection, settings: FidelitySettings) -> dict[str, Tensor]:
    """Every kind of picture, as many of each, in [0, 1]; a backbone that edits draws nothing from noise alone."""
    seed, backbone = settings.draw_seed, run.components.pipeline
    rows = selection.others
    real, requests = to_float(run.pictures.images[rows]), requests_for(run, rows, seed)
    kinds = {
        REAL: real,
        RECONSTRUCTION: _reconstructed(run, [request.reference for request in requests]),
        OWN: rendered(run, rows, real, seed),
        ANOTHERS: rendered(run, [*rows[1:], *rows[:1]], real, seed),
        "v_gen": generate_in_batches(run.ragar.generator, requests, description="v_gen"),
        "v_glob": generate_in_batches(GlobalGenerator(run.ragar.generator), requests, description="v_glob"),
    }
    if backbone.edits:
        return kinds
    captions = [run.components.keywords.captions.texts[row] for row in rows]
    return kinds | {
        "conditional": _from_noise(run, captions, settings),
        "unconditional": _from_noise(run, [""] * len(captions), settings),
        "v_gen from noise": generate_in_batches(_text_to_image(run, settings), requests, description="from noise"),
    }


def _reconstructed(run: Experiment, items: Sequence[str]) -> Tensor:
    """The control ``reconstruction``: the items' own pictures, as the generator's domain gives them back."""
    blocks = [items[start : start + BATCH] for start in range(0, len(items), BATCH)]
    return torch.cat([run.components.reconstruct(block, run.config.generator) for block in blocks])


def requests_for(run: Experiment, rows: Sequence[int], seed: int) -> list[Request]:
    """Each row as the reference of a test user of the generator, out of whose history it is taken."""
    own = training_requests(run.ranker.dataset, run.ragar.people.test, run.pictures.pictured, seed)
    requests = []
    for at, row in enumerate(rows):
        person, item = own[at % len(own)], run.pictures.items[row].id
        # A request needs some history, even if that is the item alone.
        history = tuple(past for past in person.history if past != item) or person.history
        requests.append(Request(person.user, item, history, request_seed(seed, person.user, item)))
    return requests


def save_people_sheet(run: Experiment, settings: FidelitySettings, file: Path) -> None:
    """Write a sheet of references of test users, for several of them, for nobody, and (unless one edits) from noise."""
    requests = training_requests(run.ranker.dataset, run.ragar.people.test, run.pictures.pictured, settings.draw_seed)
    shown, people = requests[: settings.references], requests[-settings.people :]
    rows = run.components.gallery.rows([request.reference for request in shown])
    columns = {"reference": to_float(run.pictures.images[rows])}
    for person in people:
        columns[f"for {person.user}"] = run.ragar.generator.generate(_for(person, shown))
    columns["v_glob"] = run.ragar.generator.generate_global(shown)
    if not run.components.pipeline.edits:
        last = people[-1]
        columns[f"noise, for {last.user}"] = _text_to_image(run, settings).generate(_for(last, shown))
    save_sheet(columns, file)


def _for(person: Request, requests: Sequence[Request]) -> list[Request]:
    """The same references and seeds for another user's history."""
    return [replace(request, user=person.user, history=person.history) for request in requests]


def _text_to_image(run: Experiment, settings: FidelitySettings) -> Ragar:
    """The trained generator, beginning in noise instead of the reference."""
    return run.ragar.warm.load(run.ragar.folder, text_to_image=True, steps=settings.steps)


def _from_noise(run: Experiment, captions: Sequence[str], settings: FidelitySettings) -> Tensor:
    """The backbone's samples; empty captions are the unconditional ones, made without guidance."""
    backbone, conditional, parts = run.components.pipeline, any(captions), []
    kind = "conditional" if conditional else "unconditional"
    for start in tqdm(range(0, len(captions), BATCH), desc=kind, unit=f"x{BATCH}"):
        states = backbone.states(captions[start : start + BATCH])
        seeds = [request_seed(settings.draw_seed, "noise", str(start + at)) for at in range(len(states))]
        images = backbone.sample(
            states,
            backbone.states([""] * len(states)),
            None,
            seeds,
            steps=settings.steps,
            strength=1.0,
            guidance_scale=settings.guidance_scale if conditional else 1.0,
        )
        parts.append(images.cpu())
    return torch.cat(parts)
