"""What a verdict rests on, from hand-made frames: gains, ownership, and who may confirm anything."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

from ragar_rec.evaluation.evidence import Judged
from ragar_rec.evaluation.per_user import COLUMNS, OWN, PERMUTED_OWNERS
from ragar_rec.evaluation.verdict import JudgeEvidence

PEOPLE = 40


@dataclass(frozen=True)
class World:
    """A system with a gain of .1 for everybody by both judges, .04 of it personal; the judge reads pictures."""

    reads: float = 0.1
    moved: float = 1.0
    controls: tuple[str, ...] = (OWN, "original", PERMUTED_OWNERS, "random_item")

    def frame(self) -> pd.DataFrame:
        noise = np.linspace(-0.01, 0.01, PEOPLE)
        values = {
            OWN: 0.3 + noise,
            "original": 0.2 + 0 * noise,
            PERMUTED_OWNERS: 0.26 + noise,
            "random_item": 0.2 + noise,
        }
        rows = []
        for judge in ("reward", "judge"):
            for control in self.controls:
                rows += self.cell("RAGAR", "candidates", control, judge, "ndcg@10", values[control])
            moves = np.where(np.arange(PEOPLE) < self.moved * PEOPLE, 0.5, 0.0)
            if "random_item" in self.controls:
                rows += self.cell("RAGAR", "candidates", "random_item", judge, "delta_r", moves)
        rows += self.cell("judge", "reading", OWN, "judge", "ndcg@10", 0.2 + noise)
        rows += self.cell("judge", "reading", "trained_on_shuffled", "judge", "ndcg@10", 0.2 - self.reads - noise)
        return pd.DataFrame(rows, columns=pd.Index(COLUMNS))

    @staticmethod
    def cell(system: str, protocol: str, control: str, judge: str, metric: str, values: np.ndarray) -> list[tuple]:
        return [
            (str(user), system, protocol, control, judge, 0, 0, metric, float(value))
            for user, value in enumerate(values)
        ]

    def judged(self) -> Judged:
        cell = {"system": "RAGAR", "protocol": "candidates", "metric": "ndcg@10", "training_seed": 0, "seed": 0}
        draws = [
            {**cell, "judge": judge, "draw": draw, "value": value}
            for judge, values in (("reward", [0.26] * 99), ("judge", [0.31] * 50 + [0.26] * 49))
            for draw, value in enumerate(values)
        ]
        return Judged(self.frame(), pd.DataFrame(draws), "reward", "ndcg@10", {"resamples": 200})

    def judge(self) -> JudgeEvidence:
        evidence = self.judged().evidence("RAGAR")
        assert evidence is not None
        (judge,) = evidence.judges
        return judge


def test_gains_and_ownership_are_read_from_the_frame() -> None:
    evidence = World().judged().evidence("RAGAR")
    assert evidence is not None
    assert (evidence.metric, evidence.original) == ("NDCG@10", pytest.approx(0.2))
    assert evidence.reward.gain.value == pytest.approx(0.1)
    assert evidence.reward.personal is not None
    assert evidence.reward.personal.value == pytest.approx(0.04)
    assert evidence.reward.ownership_p == 1 / 100  # none of 99 permutations is as high
    assert evidence.judges[0].ownership_p == 51 / 100
    assert (evidence.reference, evidence.catalogue) == (None, None)


def test_a_judge_that_reads_and_moves_may_confirm() -> None:
    assert World().judge().objection == ""


def test_a_judge_that_is_as_good_on_shuffled_pictures_may_not() -> None:
    assert (
        World(reads=0.0)
        .judge()
        .objection.startswith("does not read pictures: trained on those of other items it is no worse (+0.0000 [")
    )


def test_a_judge_that_does_not_move_may_not() -> None:
    assert World(moved=0.05).judge().objection == (
        "does not move under random pictures: the ranks of 5% of the people change in the mean over draws"
    )
    # In each of twenty draws other people move: still 5 % of them, though everybody moves under one of the draws.
    judged = World(moved=0.05).judged()
    moves, others = judged.frame.query("metric == 'delta_r'"), judged.frame.query("metric != 'delta_r'")
    draws = [moves.assign(seed=draw, value=np.roll(moves["value"], 2 * draw)) for draw in range(20)]
    evidence = replace(judged, frame=pd.concat([others, *draws], ignore_index=True)).evidence("RAGAR")
    assert evidence is not None
    assert "the ranks of 5% of the people change" in evidence.judges[0].objection
    assert "add random_item" in World(controls=(OWN, "original", PERMUTED_OWNERS)).judge().objection


def test_a_judge_without_a_comparison_may_not() -> None:
    judged = World().judged()
    unread = Judged(judged.frame.query("protocol != 'reading'"), judged.ownership, "reward", "ndcg@10")
    evidence = unread.evidence("RAGAR")
    assert evidence is not None
    assert evidence.judges[0].objection == "was not compared with itself trained on shuffled pictures"


def test_verdicts_are_given_for_what_was_measured_under_candidates() -> None:
    judged = World().judged()
    (verdict,) = judged.verdicts({"RAGAR": True, "nobody": False}, smallest_gain=0.05)
    # The judge sees the gain, and nothing personal in it.
    assert (verdict.system, verdict.rule) == ("RAGAR", "gain, not personal")
