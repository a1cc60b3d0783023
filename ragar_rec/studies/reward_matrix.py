"""The matrix of rewards and judges: what each ranker's reward teaches the generator, as every other ranker sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, cast

import pandas as pd

from ragar_rec.evaluation.per_user import OWN, read_per_user, write_per_user
from ragar_rec.experiment import Experiment
from ragar_rec.stages import Ranker, held_out_frame
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
        seed, judges = self.run.config.evaluation.seeds[0], {name: judge.content for name, judge in self.judges.items()}
        for model in self.models:
            system = self.run.systems.ragar(self._ranker(model, self.encoder, self.seed))
            key = digest([system.content, seed, judges])[:16]
            file = self.run.output / "reward-matrix" / f"{model}-{key}.parquet"
            if not file.is_file():
                file.parent.mkdir(parents=True, exist_ok=True)
                rewards = {name: judge.reward for name, judge in self.judges.items()}
                frame = held_out_frame(system, rewards, seed)
                write_per_user(frame.assign(system=model, training_seed=0), file)
            yield read_per_user(file)

    def _ranker(self, model: str, encoder: str, seed: int) -> Ranker:
        return self.run.new_ranker(model=model, image_encoder=encoder, seed=seed, settings=SETTINGS.get(model, {}))


def differences(frame: pd.DataFrame, control: str) -> dict[tuple[str, str], Interval]:
    """Score of v_gen less that of a control's picture, over people, by reward and judge."""
    found = {}
    for key, rows in frame.groupby(["system", "judge"], sort=False):
        by_control = rows.pivot(index="user", columns="control", values="value")
        found[cast(tuple[str, str], key)] = paired_difference(
            pd.Series(by_control[OWN]), pd.Series(by_control[control])
        )
    return found


def matrix_table(cells: Cells) -> str:
    """Markdown: a row for each reward, a column for each judge; bold survives Holm's correction over the table."""
    bold = dict(zip(cells, holm([cell.p for cell in cells.values()]), strict=True))
    rewards, judges = (list(dict.fromkeys(key[at] for key in cells)) for at in (0, 1))
    rows = []
    for reward in rewards:
        texts = [interval_text(vars(cells[reward, judge]), "+.3f") for judge in judges]
        marked = [f"**{text}**" if bold[reward, judge] else text for text, judge in zip(texts, judges, strict=True)]
        rows.append([reward, *marked])
    return markdown_table(["reward", *judges], rows)
