"""What each way of retrieving would be worth to the ranker, before any picture is generated (eq. 3-5).

    python experiments/retrieval.py --config experiments/configs/movie-posters.yaml --data <folder> --weights <folder>

Each person's last training item is the reference. Its image features are replaced by P_ret, the weighted mean of the
*ranker's* features of what is retrieved from the history before it: the mean of the pictures that a perfect generator
would be shown. The table gives that score less the one of the reference's own picture, and less the one of the P_ret
of a stranger's history (what is personal), in standard deviations of the person's scores, with 95 % bootstrap intervals
over people; and the mean of the largest weight (1/k is flat). People for whom, or for whose stranger, nothing with a
picture is retrieved are left out of a row, which then says how many it is about. Nothing is trained here, so all people
but those of `people.test` (`reflection.held_out`) are the ones to choose by; the test people stand beside them.

Writes <output>/retrieval.json. Backbone and ranker that the output folder's store has are reused, others are trained.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from generation.ragar.ragar import Ragar
from generation.ragar.retrieval import aggregate
from generation.request import Request
from ragar_rec.evaluation.controls import Strangers
from ragar_rec.evaluation.frames import stranger_requests
from ragar_rec.evaluation.people import training_requests
from ragar_rec.pipeline import Run, provenance
from recsys.features import FeatureTable
from recsys.recbole import checkpoint
from recsys.scoring.statistics import interval

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "none": {"normalization": "none"},
    "minmax": {"normalization": "minmax"},
    "zscore": {"normalization": "zscore"},
    "minmax, temperature .5": {"normalization": "minmax", "temperature": 0.5},
    "minmax, temperature .25": {"normalization": "minmax", "temperature": 0.25},
    "minmax, next_k": {"normalization": "minmax", "history": "next_k"},
    "minmax, random": {"normalization": "minmax", "history": "random"},
    "whole history, equal weights": {"k": 20, "history_length": 20, "temperature": 1e6},
}
"""Keys of the section `generator` that a setting changes."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--config", type=Path, default=Path(__file__).parent / "configs" / "movie-posters.yaml")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--output", type=Path, default=Path("output") / "objectives")
    args, overrides = parser.parse_known_args(arguments)
    run = Run.open(args.config, overrides, args.data, args.weights, args.output)
    people = {"choosing": [*run.system.people.train, *run.system.people.valid], "test": run.system.people.test}
    parts = {name: Part(run, users) for name, users in people.items()}
    ragar, rows = run.components.new_generator(run.config.generator), dict[str, Any]()
    for name, changes in SETTINGS.items():
        ragar.config = replace(run.config.generator, **changes)
        rows[name] = {part: measured.row(ragar) for part, measured in parts.items()}
    checkpoint.write_json(args.output / "retrieval.json", {"run": provenance(run), "settings": rows})
    print(markdown(rows))


class Part:
    """Requests of some people, those of strangers for the same references, and what the ranker says of the originals.

    Args:
        run: whose ranker scores.
        users: the people, by the ranker's numbers.
    """

    def __init__(self, run: Run, users: Sequence[int]) -> None:
        seed = run.config.evaluation.seeds[0]
        self.view, dataset = run.ranker.view, run.ranker.dataset
        self.own = training_requests(dataset, users, run.pictures.pictured, seed)
        self.others = stranger_requests(self.own, dataset, Strangers(dataset, seed, users), seed)
        self.users = torch.tensor([dataset.user_id(request.user) for request in self.own])
        self.items = torch.tensor([dataset.item_id(request.reference) for request in self.own])
        table = FeatureTable.read(run.features.folder / "image.safetensors")
        values, present = table.align([item.id for item in run.pictures.items])
        self.features, self.present = torch.from_numpy(values), torch.from_numpy(present)
        self.reference = self.scores(
            self.features[run.components.gallery.rows([request.reference for request in self.own])]
        )

    def scores(self, features: Tensor, some: Tensor | slice = slice(None)) -> np.ndarray:
        """Of (some of) the references for their people under these features, in standard deviations of her scores."""
        users = self.users[some]
        with torch.no_grad():
            return (self.view.substitute(users, self.items[some], features) / self.view.spread(users)).numpy()

    def retrieved(self, ragar: Ragar, requests: Sequence[Request]) -> tuple[Tensor, Tensor]:
        """P_ret in the ranker's features, and the weights."""
        rows, weights, _ = ragar.retrieve(requests)
        return aggregate(weights, self.features[rows], self.present[rows]), weights

    def row(self, ragar: Ragar) -> dict[str, Any]:
        """Means, with intervals, over the people for whom something is retrieved; nothing where there is nobody."""
        features, weights = self.retrieved(ragar, self.own)
        others, _ = self.retrieved(ragar, self.others)
        some = features.any(1) & others.any(1)
        if not some.any():
            return {}
        scores = self.scores(features[some], some)
        return {
            "own picture": asdict(interval(scores - self.reference[some.numpy()])),
            "stranger": asdict(interval(scores - self.scores(others[some], some))),
            "largest weight": weights[some].amax(1).mean().item(),
            "people": len(some),
        }


def markdown(rows: Mapping[str, Any]) -> str:
    """A line a setting: people to choose by, then the test's."""
    gains = ("P_ret − own picture", "P_ret − a stranger's")
    titles = ("setting", "largest weight", *gains, *(f"{gain}, test" for gain in gains))
    lines = [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]
    for name, parts in rows.items():
        cells = [cell(part, key) for part in parts.values() for key in ("own picture", "stranger")]
        lines.append(f"| {name} | {parts['choosing'].get('largest weight', 0):.2f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(row: Mapping[str, Any], gain: str) -> str:
    """A gain with its interval, and of how many people if it is not everybody."""
    if not row:
        return "nobody"
    it = row[gain]
    part = "" if it["n"] == row["people"] else f", {it['n']} of {row['people']} people"
    return f"{it['value']:+.3f} [{it['low']:+.3f}, {it['high']:+.3f}]{part}"


if __name__ == "__main__":
    main()
