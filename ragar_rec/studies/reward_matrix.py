"""The matrix of rewards and judges: what each ranker's reward teaches the generator, as every other ranker sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, cast

import pandas as pd

from generation.pictures import to_float
from ragar_rec.evaluation.controls import ShuffledUserSampler
from ragar_rec.evaluation.frames import generator_frame, shuffled_user_requests
from ragar_rec.evaluation.people import training_requests
from ragar_rec.evaluation.per_user import OWN, read_per_user, write_per_user
from ragar_rec.experiment import Experiment
from ragar_rec.stages import Ranker
from ragar_rec.store.hashing import digest
from ragar_rec.studies.markdown import interval_text, markdown_table
from recsys.recbole.keys import SEED
from recsys.scoring.statistics import Interval, holm, paired_difference

MODELS = ("MICRO", "VBPR", "FREEDOM", "LATTICE")
"""Rankers that read pictures and reward them by an exact gradient."""

SETTINGS: Mapping[str, Mapping[str, Any]] = {"FREEDOM": {"edge_weights": "cosine"}}
"""RecBole keys of a model without which its score has no gradient in pictures."""

Cells = Mapping[tuple[str, str], Interval]
"""A paired difference for each reward and judge."""


class RewardMatrix:
    """RAGAR by each model's reward, judged by all models on all encoders, each trained apart with another seed.

    A judge on the diagonal is the reward's model and encoder after another training. All share the experiment's store;
    the frame of a reward that was measured on the same data by the same judges is not measured again.

    Args:
        run: whose data, generator and settings are taken; the model, encoder and judges of its config are not.
        models: reward, and judge.
        encoders: of the judges; rewards read the first.
    """

    def __init__(self, run: Experiment, models: Sequence[str], encoders: Sequence[str]) -> None:
        self.run, self.models, self.encoder = run, models, encoders[0]
        self.seed = int(run.config.recbole.get("seed", SEED))
        self.judges = {
            f"{model} on {encoder}": self._ranker(model, encoder, self.seed + 1)
            for encoder, model in product(encoders, models)
        }

    def frames(self) -> Iterator[pd.DataFrame]:
        """A per-user frame for each reward, whose name is the ``system``, as soon as it is measured."""
        for model in self.models:
            reward = self._ranker(model, self.encoder, self.seed)
            system = self.run.systems.ragar(reward)
            judges = {name: judge.content for name, judge in self.judges.items()}
            contents = [system.content, self.run.config.evaluation.seeds[0], judges]
            file = self.run.output / "reward-matrix" / f"{model}-{digest(contents)[:16]}.parquet"
            if not file.is_file():
                file.parent.mkdir(parents=True, exist_ok=True)
                self._measure(model, reward, file)
            yield read_per_user(file)

    def _ranker(self, model: str, encoder: str, seed: int) -> Ranker:
        return self.run.new_ranker(model=model, image_encoder=encoder, seed=seed, settings=SETTINGS.get(model, {}))

    def _measure(self, model: str, reward: Ranker, file: Path) -> None:
        """Train the generator by this reward, and write what all judges say on the people kept from its training."""
        system, dataset, seed = self.run.systems.ragar(reward), reward.dataset, self.run.config.evaluation.seeds[0]
        people = system.people.test
        requests = training_requests(dataset, people, self.run.pictures.pictured, seed)
        references = self.run.pictures.rows([request.reference for request in requests])
        frame = generator_frame(
            system.generator,
            {},
            to_float(self.run.pictures.images[references]),
            requests,
            shuffled_user_requests(requests, dataset, ShuffledUserSampler(dataset, seed, people), seed),
            {name: judge.reward for name, judge in self.judges.items()},
            system=model,
            seed=seed,
            progress=self.run.workspace.progress,
        )
        write_per_user(frame.assign(training_seed=0), file)


def differences(frame: pd.DataFrame, control: str) -> dict[tuple[str, str], Interval]:
    """Score of v_gen less that of a control's picture, over people, by reward and judge."""
    found = {}
    for key, rows in frame.groupby(["system", "judge"], sort=False):
        by_control = rows.pivot(index="user", columns="control", values="value")
        found[cast(tuple[str, str], key)] = paired_difference(
            pd.Series(by_control[OWN]), pd.Series(by_control[control])
        )
    return found


def matrix_table(cells: Cells, *, corrected: bool = True) -> str:
    """Markdown: a row for each reward, a column for each judge; bold survives Holm's correction over the table.

    Args:
        cells: the differences.
        corrected: they are the whole table; of a part, none is bold.
    """
    survives = holm([cell.p for cell in cells.values()]) if corrected else [False] * len(cells)
    bold = dict(zip(cells, survives, strict=True))
    rewards, judges = (list(dict.fromkeys(key[at] for key in cells)) for at in (0, 1))
    rows = []
    for reward in rewards:
        texts = [interval_text(vars(cells[reward, judge]), "+.3f") for judge in judges]
        marked = [f"**{text}**" if bold[reward, judge] else text for text, judge in zip(texts, judges, strict=True)]
        rows.append([reward, *marked])
    return markdown_table(["reward", *judges], rows)
