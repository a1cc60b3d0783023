"""What a verdict rests on, from the per-user frame and the permutations of owners."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from ragar_rec.evaluation.finding import signed
from ragar_rec.evaluation.ownership import ownership_p
from ragar_rec.evaluation.per_user import OWN, PERMUTED_OWNERS
from ragar_rec.evaluation.results import PRIMARY_PROTOCOL, by_control
from ragar_rec.evaluation.verdict import Evidence, JudgeEvidence, Verdict, verdict
from recsys.scoring.metrics import list_metric_name
from recsys.scoring.statistics import Interval, interval, paired

MOVING = 0.1
"""Share of people whose ranks must change under random pictures before a judge is believed to look at them."""


@dataclass(frozen=True)
class Judged:
    """The frame and permutations of all systems and judges.

    Attributes:
        frame: see :data:`ragar_rec.evaluation.per_user.COLUMNS`.
        ownership: see :func:`ragar_rec.evaluation.ownership.ownership_p`.
        reward: the name among the judges of the ranker that rewards, where a system is rewarded.
        metric: the primary metric, ``ndcg@10``.
        bootstrap: ``confidence``, ``resamples`` and ``seed`` of the intervals.
    """

    frame: pd.DataFrame
    ownership: pd.DataFrame
    reward: str
    metric: str
    bootstrap: Mapping[str, Any] = field(default_factory=dict)

    def evidence(self, system: str, *, rewarded: bool = True, barren: str = "") -> Evidence | None:
        """Gather one system's evidence; None if nothing was measured under ``candidates``.

        Args:
            system: its name in the frame.
            rewarded: whether :attr:`reward` took part in making its pictures.
            barren: why there is nothing to gain by pictures, if so.
        """
        controls = self._controls(system, PRIMARY_PROTOCOL, self.reward, self.metric)
        if OWN not in controls:
            return None
        judges = [name for name in self._of(PRIMARY_PROTOCOL, system)["judge"].unique() if name != self.reward]
        return Evidence(
            system=system,
            metric=list_metric_name(self.metric),
            reward=self._judge(system, self.reward),
            original=float(controls["original"].to_numpy().mean()),
            judges=tuple(self._judge(system, name) for name in judges),
            rewarded=rewarded,
            reference=self._gain(system, "reference", self.reward),
            catalogue=self._gain(system, "catalogue", self.reward),
            barren=barren,
        )

    def verdicts(self, systems: Mapping[str, bool], *, smallest_gain: float, barren: str = "") -> tuple[Verdict, ...]:
        """The verdict of each system of which anything was measured under ``candidates``.

        Args:
            systems: name in the frame -> whether :attr:`reward` took part in making its pictures.
            smallest_gain: see :func:`ragar_rec.evaluation.verdict.verdict`.
            barren: see :meth:`evidence`.
        """
        gathered = [self.evidence(name, rewarded=rewarded, barren=barren) for name, rewarded in systems.items()]
        alpha = 1 - self.bootstrap.get("confidence", 0.95)
        return tuple(verdict(each, smallest_gain=smallest_gain, alpha=alpha) for each in gathered if each is not None)

    def _of(self, protocol: str, system: str) -> pd.DataFrame:
        return self.frame.query("protocol == @protocol and system == @system")

    def _controls(self, system: str, protocol: str, judge: str, metric: str) -> dict[str, pd.Series | pd.DataFrame]:
        return by_control(self._of(protocol, system).query("judge == @judge and metric == @metric"))

    def _gain(self, system: str, protocol: str, judge: str, other: str = "original") -> Interval | None:
        """Own pictures less another control in the primary metric; None if one of them was not measured."""
        controls = self._controls(system, protocol, judge, self.metric)
        if OWN not in controls or other not in controls:
            return None
        return interval(paired(controls[OWN], controls[other]).to_numpy(), **self.bootstrap)

    def _judge(self, system: str, judge: str) -> JudgeEvidence:
        own = self._controls(system, PRIMARY_PROTOCOL, judge, self.metric)[OWN]
        cell = {"system": system, "protocol": PRIMARY_PROTOCOL, "judge": judge, "metric": self.metric}
        gain = self._gain(system, PRIMARY_PROTOCOL, judge)
        assert gain is not None  # the config insists on the control `original`
        return JudgeEvidence(
            judge,
            gain,
            self._gain(system, PRIMARY_PROTOCOL, judge, PERMUTED_OWNERS),
            ownership_p(self.ownership, float(own.to_numpy().mean()), **cell),
            self._objection(system, judge),
            self._gain(system, PRIMARY_PROTOCOL, judge, "shuffled_user"),
        )

    def _objection(self, system: str, judge: str) -> str:
        """Why this judge may not confirm anything: it must read pictures, and move when it is shown random ones."""
        reading = self._controls(judge, "reading", judge, self.metric)
        if not reading:
            return "was not compared with itself trained on shuffled pictures"
        own, shuffled = reading.values()
        lead = interval(paired(own, shuffled).to_numpy(), **self.bootstrap)
        if lead.low <= 0:
            return (
                f"does not read pictures: trained on those of other items it is no worse ({signed(lead)} on validation)"
            )
        shown = self._of(PRIMARY_PROTOCOL, system)
        moved = shown.query("judge == @judge and control == 'random_item' and metric == 'delta_r'")["value"]
        if not len(moved):
            return "was not shown random pictures: add random_item to evaluation.controls"
        # Draw by draw: the more there are, the more people move under one of them.
        if (share := float((moved != 0).mean())) < MOVING:
            moving = f"the ranks of {share:.0%} of the people change in the mean over draws"
            return f"does not move under random pictures: {moving}"
        return ""
