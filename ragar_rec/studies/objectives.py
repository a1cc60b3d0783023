"""The objectives study: what each objective and noise mode learns, chosen on validation users, judged on test users."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ragar_rec.evaluation.per_user import OWN
from ragar_rec.experiment import Experiment
from ragar_rec.provenance import provenance
from ragar_rec.stages import held_out_frame
from ragar_rec.store.hashing import digest
from ragar_rec.studies.arguments import ExperimentSource
from ragar_rec.studies.delta_r import compare, delta_r
from ragar_rec.studies.markdown import interval_text, markdown_table
from recsys.recbole import checkpoint
from recsys.scoring.statistics import interval, paired_difference

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "reinforce, low_rank": {"objective": "reinforce", "noise": "low_rank", "antithetic": False},
    "reinforce, low_rank, antithetic": {"objective": "reinforce", "noise": "low_rank", "antithetic": True},
    "reinforce, token_shared": {"objective": "reinforce", "noise": "token_shared", "antithetic": False},
    "reinforce, full": {"objective": "reinforce", "noise": "full", "antithetic": False},
    "nft, low_rank, antithetic": {"objective": "nft"},
    "nft, LoRA": {"objective": "nft", "lora_rank": 4},
    "path": {"objective": "path"},
    "path, LoRA": {"objective": "path", "lora_rank": 4},
    "paper_literal, low_rank": {"objective": "paper_literal", "noise": "low_rank"},
}
"""Keys of the section `reflection` that a setting changes."""

PMG_LIKE = {"k": 20, "history_length": 20, "temperature": 1e6}
"""Keys of the section `generator` without retrieval: the whole history with equal weights. It gets no reward."""

RIVALS = {"v_ref": "reference_image", "v_glob": "global", "untrained": "untrained", "shuffled_user": "shuffled_user"}
"""What v_gen is compared with: the controls of the protocol `generator`."""


class ObjectivesStudy:
    """Rows of settings as they are finished, in ``objectives.json``.

    Rows of an earlier run stay, if they were measured under the same config and data.

    Args:
        source: the experiment that the settings vary.
    """

    def __init__(self, source: ExperimentSource) -> None:
        self.source, self.output = source, source.output
        self.file = source.output / "objectives.json"
        parents = parent_contents(source.open())
        # What a setting means: its config and the contents of what its numbers depend on beside the config.
        self.under = {name: digest([self._open(name).config.as_dict(), parents]) for name in SETTINGS}
        self.rows = valid_rows(self.file, self.under)

    def measure(self, name: str) -> dict[str, Any]:
        """Train one setting unless it is done, measure it, and write all rows; returns its row."""
        run = self._open(name)
        frame = score_frame(run)
        path = self.output / "objectives" / f"{_file_name(name)}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(path)
        self.rows[name] = {"under": self.under[name]} | {part: summary(rows) for part, rows in frame.groupby("part")}
        self.rows = {known: self.rows[known] for known in SETTINGS if known in self.rows}
        checkpoint.write_json(self.file, {"run": provenance(run), "settings": self.rows})
        return self.rows[name]

    @property
    def chosen(self) -> str:
        """The setting whose pictures score best on validation users."""
        return max(self.rows, key=lambda name: self.rows[name]["valid"]["score"]["value"])

    def compare_with_pmg(self) -> dict[str, dict[str, float]]:
        """Delta R of the chosen setting beside that of a variant like PMG; also written to the file."""
        run, like_pmg = self._open(self.chosen), self.source.open("generator", PMG_LIKE)
        pictures = self.output / "pictures"
        found = compare(
            delta_r(run, run.ragar.folder, pictures / _file_name(self.chosen)),
            delta_r(like_pmg, like_pmg.ragar.warm.folder, pictures / "pmg-like"),
        )
        content = {"run": provenance(run), "settings": self.rows, "chosen": self.chosen}
        checkpoint.write_json(self.file, content | {"delta_r under reference": found})
        return found

    def _open(self, name: str) -> Experiment:
        return self.source.open("reflection", SETTINGS[name])


def valid_rows(file: Path, under: Mapping[str, str]) -> dict[str, Any]:
    """The rows of earlier settings, of those measured under what the settings mean now."""
    rows = json.loads(file.read_text(encoding="utf-8"))["settings"] if file.is_file() else {}
    return {name: row for name, row in rows.items() if name in under and row.get("under") == under[name]}


def score_frame(run: Experiment) -> pd.DataFrame:
    """Scores of own and rival pictures, a row per user and control; column `part` is valid or test."""
    seed, judges, frames = run.config.evaluation.seeds[0], {run.reward_ranker.label: run.reward_ranker.reward}, []
    for part in ("valid", "test"):
        people = getattr(run.ragar.people, part)
        frame = held_out_frame(run.ragar, judges, seed, people=people, compared=run.ragar.compared)
        frames.append(frame.assign(part=part))
    return pd.concat(frames, ignore_index=True)


def summary(frame: pd.DataFrame) -> dict[str, Any]:
    """Mean score of v_gen, its paired gains over the rivals, and the shares of its ranks 1, 2 and 3 (eq. 10)."""
    table = frame.pivot(index="user", columns="control", values="value")
    score = {control: pd.Series(table[control]) for control in (OWN, *RIVALS.values())}
    gains = {name: asdict(paired_difference(score[OWN], score[rival])) for name, rival in RIVALS.items()}
    ranks = _rank_shares(*(np.asarray(score[control]) for control in (OWN, RIVALS["v_ref"], RIVALS["v_glob"])))
    return {"score": asdict(interval(np.asarray(score[OWN]))), "gains": gains, "ranks": ranks}


def settings_table(rows: Mapping[str, Any]) -> str:
    """The table of the test users, with the mean score on validation in front."""
    titles = ("setting", "validation", *(f"v_gen − {name}" for name in RIVALS), "first / second / third")
    return markdown_table(titles, [_cells(name, row) for name, row in rows.items()])


def _cells(name: str, row: Mapping[str, Any]) -> list[str]:
    gains = [interval_text(gain) for gain in row["test"]["gains"].values()]
    ranks = " / ".join(f"{100 * share:.0f} %" for share in row["test"]["ranks"])
    return [name, f"{row['valid']['score']['value']:+.4f}", *gains, ranks]


def parent_contents(run: Experiment) -> dict[str, str]:
    """Contents of what a study's numbers depend on beside the config."""
    ranker = run.reward_ranker
    return {"ranker": ranker.content, "features": ranker.features.content, "components": run.components.content}


def _rank_shares(gen: np.ndarray, *rivals: np.ndarray) -> list[float]:
    """Shares of users for whom v_gen is first, second and third among the three; ties count against it."""
    above = np.sum([rival >= gen for rival in rivals], axis=0)
    return [float(np.mean(above == place)) for place in range(3)]


def _file_name(setting: str) -> str:
    return setting.replace(", ", "-")
