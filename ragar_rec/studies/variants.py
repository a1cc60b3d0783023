"""Variants of one experiment, trained in one store and measured on the people kept from the generator's training."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from generation.rewards.relevance import Relevance
from ragar_rec.evaluation.per_user import OWN, read_per_user, write_per_user
from ragar_rec.experiment import Experiment
from ragar_rec.provenance import provenance
from ragar_rec.stages import held_out_frame
from ragar_rec.store.hashing import digest
from ragar_rec.studies.arguments import ExperimentSource
from ragar_rec.studies.markdown import interval_text, markdown_table
from ragar_rec.studies.objectives import parent_contents, valid_rows
from recsys.recbole import checkpoint
from recsys.scoring.statistics import paired_difference

Changes = Mapping[str, Any]
"""Dotted keys of the config with other values, ``generator.k``."""

QUICK_KEYS: Changes = {
    "reflection.warm_start_steps": 60,
    "reflection.reward_steps": 12,
    "reflection.batch_size": 8,
    "reflection.held_out": 0.55,
}
"""Keys of a study's quick run: fewer steps, and fewer people to learn from (943 of MovieLens-100k leave 165)."""
QUICK_PEOPLE = 40
"""People on whom a quick run measures."""

RELEVANCE = "relevance"
"""Name of the relevance reward among the judges of the frame."""

GAINS = {
    "score − own picture": ("generator", "score", "reference_image"),
    "score − a stranger's": ("generator", "score", "shuffled_user"),
    "relevance − own picture": ("generator", RELEVANCE, "reference_image"),
    "NDCG − original": ("candidates", "ndcg", "original"),
    "NDCG − a stranger's": ("candidates", "ndcg", "shuffled_user"),
}
"""What v_gen gains: protocol, what is measured, and the control that it is compared with."""


class VariantStudy:
    """Rows of variants as they are finished, in ``<output>/<name>/rows.json``, with every person's numbers beside it.

    Trainings are stages of one store: variants that differ in the reward phase share their warm start, and one that
    equals another is not trained again. Rows of an earlier run stay, if they were measured under the same config and
    data.

    Args:
        source: the experiment that the variants change.
        name: of the study, and of its folder in the output folder.
        variants: changes by the name of the row; the first is what the others are compared with.
        people: at most so many of the people kept from training; 0 takes all.
        candidates: also measure under the protocol ``candidates``, which draws `evaluation.candidates` pictures for
            each person of the evaluation's sample.
    """

    def __init__(
        self,
        source: ExperimentSource,
        name: str,
        variants: Mapping[str, Changes],
        *,
        people: int = 0,
        candidates: bool = False,
    ) -> None:
        self.source, self.variants, self.people, self.candidates = source, variants, people, candidates
        self.folder, self.first = source.output / name, next(iter(variants))
        parents = parent_contents(source.open())
        self.under = {
            each: digest([self._open(each).config.as_dict(), parents, people, candidates]) for each in variants
        }
        self.rows = valid_rows(self._file, self.under)

    def measure(self, name: str) -> dict[str, Any]:
        """Train one variant and measure it, unless that is done; write all rows, and return its own."""
        if name not in self.rows:
            run = self._open(name)
            self.folder.mkdir(parents=True, exist_ok=True)
            write_per_user(variant_frame(run, self.people, candidates=self.candidates), self._frame_file(name))
            self.rows[name] = {"under": self.under[name], "gains": gains(self.frame(name))}
            self.rows = {known: self.rows[known] for known in self.variants if known in self.rows}
            checkpoint.write_json(self._file, {"run": provenance(run), "settings": self.rows})
        return self.rows[name]

    def frame(self, name: str) -> pd.DataFrame:
        """Every person's numbers under a variant that was measured."""
        return read_per_user(self._frame_file(name))

    def against_first(self, name: str) -> dict[str, Any]:
        """The scores of v_gen less those of the first variant's, for the same people, with an interval over them."""
        own, first = (_values(self.frame(each), "generator", "score", OWN) for each in (name, self.first))
        return asdict(paired_difference(own, first))

    def table(self, names: Collection[str] = ()) -> str:
        """The gains of these variants, by default of all that were measured, and their scores above the first's."""
        rows = {name: self.rows[name] for name in names or self.rows}
        shown = [gain for gain in GAINS if all(gain in row["gains"] for row in rows.values())]
        lines = []
        for name, row in rows.items():
            against = "" if name == self.first else interval_text(self.against_first(name), "+.3f")
            lines.append([name, *(interval_text(row["gains"][gain], "+.3f") for gain in shown), against])
        return markdown_table(["setting", *shown, f"score − {self.first}"], lines)

    @property
    def _file(self) -> Path:
        return self.folder / "rows.json"

    def _frame_file(self, name: str) -> Path:
        return self.folder / f"{re.sub(r'[^a-z0-9.]+', '-', name.lower())}.parquet"

    def _open(self, name: str) -> Experiment:
        return self.source.varied(self.variants[name]).open()


def variant_frame(run: Experiment, people: int, *, candidates: bool) -> pd.DataFrame:
    """A per-user frame of v_gen, of the pictures made for strangers, and of the references' own.

    The ranker judges in standard deviations of the person's scores, :data:`RELEVANCE` by the dual encoder's cosine of
    the picture with the reference's caption.
    """
    encoder, gallery = run.encoder.model, run.components.gallery
    relevance = Relevance(encoder, gallery, encoder.encode_texts(gallery.captions))
    judges = {run.reward_ranker.label: run.reward_ranker.reward, RELEVANCE: relevance}
    frame = held_out_frame(run.system, judges, run.config.evaluation.seeds[0], most=people).assign(training_seed=0)
    if not candidates:
        return frame
    ranked = run.results.frame
    chosen = (ranked["protocol"] == "candidates") & (ranked["judge"] == run.reward_ranker.label)
    return pd.concat([frame, ranked.loc[chosen]], ignore_index=True)


def gains(frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Those of :data:`GAINS` that the frame holds: paired differences over people, with intervals."""
    found = {}
    for name, (protocol, metric, control) in GAINS.items():
        rival = _values(frame, protocol, metric, control)
        if len(rival):
            found[name] = asdict(paired_difference(_values(frame, protocol, metric, OWN), rival))
    return found


def _values(frame: pd.DataFrame, protocol: str, measured: str, control: str) -> pd.Series:
    """One value a user, the mean over seeds, of the ranker's ``score`` or ``ndcg@k``, or of ``relevance``."""
    metric, of_relevance = ("score", True) if measured == RELEVANCE else (measured, False)
    chosen = (frame["protocol"] == protocol) & (frame["control"] == control)
    chosen &= (frame["judge"] == RELEVANCE) == of_relevance
    rows = frame[chosen & (frame["metric"].str.partition("@")[0] == metric)]
    return pd.Series(rows.groupby("user")["value"].mean())
