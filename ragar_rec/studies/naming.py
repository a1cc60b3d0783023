"""The naming study: whether who sees a history and four pictures of an item can tell whose picture is which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from generation.pictures import to_float
from generation.ragar.ragar import Ragar
from generation.request import Request
from ragar_rec.evaluation.frames import generate_in_batches
from ragar_rec.evaluation.people import request_seed, training_requests
from ragar_rec.experiment import Experiment
from ragar_rec.studies.markdown import interval_text
from ragar_rec.studies.sheets import save_sheet
from recsys.scoring.statistics import interval

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""Names of the pictures in a row of a sheet."""


@dataclass(frozen=True)
class NamingSettings:
    """How many people are asked about, and beside whom."""

    n: int = 20
    """People on the sheets."""
    rows: int = 10
    """People on each sheet."""
    strangers: int = 3
    """Other people for whom the same item is drawn: the chance of a right guess is 1 / (strangers + 1)."""
    draw_seed: int = 5
    """Of the strangers, the noise and the order on the sheets."""

    def __post_init__(self) -> None:
        if not 1 <= self.strangers < len(LETTERS):
            raise ValueError(f"strangers {self.strangers} must be 1 to {len(LETTERS) - 1}, as pictures are lettered")
        if self.n < 1 or self.rows < 1:
            raise ValueError(f"n {self.n} and rows {self.rows} must be at least 1")


class Naming(NamedTuple):
    """Pictures of each person's item, and what was retrieved from the person's history for it."""

    people: tuple[str, ...]
    retrieved: Float[Tensor, "n k 3 height width"]
    drawn: Float[Tensor, "n versions 3 height width"]
    """The person's own first, then the strangers'."""


def naming(run: Experiment, settings: NamingSettings) -> dict[str, Any]:
    """Write sheets with a key, and name everybody by colour.

    Into the output folder's `naming`: `sheet-1.png`, …, of the first people in an order of their own, and `key.csv`,
    which must be kept from who looks: person, sheet, row, and the letter of the person's own picture.

    Returns:
        ``named`` (an interval over people, of the share whose own picture is nearest in mean colour to the mean of
        what was retrieved), ``chance``, ``people``.

    Raises:
        ValueError: nobody who was kept from the generator's training has k pictured items and enough strangers.
    """
    cases = draw_cases(run, settings)
    folder = run.output / "naming"
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(settings.draw_seed)
    shown = rng.permutation(len(cases.people))[: settings.n].tolist()
    keys = []
    for number, start in enumerate(range(0, len(shown), settings.rows), start=1):
        keys += save_naming_sheet(cases, shown[start : start + settings.rows], rng, folder / f"sheet-{number}.png")
    pd.DataFrame(keys).to_csv(folder / "key.csv", index=False)
    return {
        "named": asdict(interval(named_by_colour(cases).numpy())),
        "chance": 1 / (settings.strangers + 1),
        "people": len(cases.people),
    }


def naming_line(results: dict[str, Any]) -> str:
    """The result for a terminal."""
    named = interval_text(results["named"], ".2f")
    return f"named by the nearest mean colour: {named} of {results['people']} people, {results['chance']:.2f} by chance"


def draw_cases(run: Experiment, settings: NamingSettings) -> Naming:
    """Everybody kept from the generator's training for whom k pictured items were retrieved."""
    ragar, seed = run.ragar.generator, settings.draw_seed
    everybody = training_requests(run.ragar.dataset, run.ragar.people.test, run.pictures.pictured, seed)
    retrieved = retrieved_rows(ragar, everybody)
    pictured = (retrieved >= 0).all(1)
    versions, rows = [], []
    for request, items, enough in zip(everybody, retrieved, pictured.tolist(), strict=True):
        others = strangers(run, request, everybody, settings)
        if enough and len(others) == settings.strangers:
            versions += [request, *others]
            rows.append(items)
    if not rows:
        raise ValueError(
            f"nobody of {len(everybody)} people kept from training has {ragar.config.k} pictured items in the history "
            f"and {settings.strangers} others who do not know the item"
        )
    drawn = generate_in_batches(ragar, versions, progress=run.workspace.progress)
    shown = to_float(run.components.gallery.images[torch.cat(rows)])
    return Naming(
        people=tuple(request.user for request in versions[:: settings.strangers + 1]),
        retrieved=shown.unflatten(0, (len(rows), ragar.config.k)),
        drawn=drawn.unflatten(0, (len(rows), settings.strangers + 1)),
    )


def retrieved_rows(ragar: Ragar, requests: Sequence[Request]) -> Int[Tensor, "n k"]:
    """Gallery rows of what each request retrieves; -1 where nothing, or no picture, is."""
    rows, weights, _ = ragar.retrieve(requests)
    return torch.where((weights > 0) & ragar.gallery.pictured[rows], rows, -1)


def strangers(
    run: Experiment, request: Request, everybody: Sequence[Request], settings: NamingSettings
) -> list[Request]:
    """The same item for other people who never interacted with it, each with the other's own history."""
    dataset = run.ragar.dataset
    rng = np.random.default_rng([settings.draw_seed, dataset.user_id(request.user)])
    chosen: list[Request] = []
    for at in rng.permutation(len(everybody)):
        other = everybody[at]
        if len(chosen) == settings.strangers:
            break
        known = dataset.item_tokens[dataset.history(dataset.user_id(other.user))]
        if other.user != request.user and request.reference not in known:
            seed = request_seed(settings.draw_seed, other.user, request.reference)
            chosen.append(Request(other.user, request.reference, other.history, seed))
    return chosen


def named_by_colour(cases: Naming) -> Float[Tensor, " n"]:
    """1 where, of all pictures of the item, the person's own is nearest in mean colour to what was retrieved."""
    goal = cases.retrieved.mean((1, 3, 4))
    distance = torch.linalg.vector_norm(cases.drawn.mean((3, 4)) - goal[:, None], dim=2)
    return (distance.argmin(1) == 0).float()


def save_naming_sheet(
    cases: Naming, people: Sequence[int], rng: np.random.Generator, file: Path
) -> list[dict[str, Any]]:
    """Write a sheet with a row a person: what was retrieved, and the versions in random order; returns its key."""
    versions = cases.drawn.shape[1]
    orders = [rng.permutation(versions) for _ in people]
    rows = torch.tensor(people)
    columns = {f"history {at + 1}": cases.retrieved[rows, at] for at in range(cases.retrieved.shape[1])}
    for column in range(versions):
        place = torch.tensor([int(order[column]) for order in orders])
        columns[LETTERS[column]] = cases.drawn[rows, place]
    save_sheet(columns, file, numbered=True)
    return [
        {"person": cases.people[person], "sheet": file.name, "row": row, "own": LETTERS[int(np.argmin(order))]}
        for row, (person, order) in enumerate(zip(people, orders, strict=True), start=1)
    ]
