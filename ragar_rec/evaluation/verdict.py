"""Verdicts: one sentence for each system, by rules in a fixed order, from the numbers of its tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ragar_rec.evaluation.finding import signed
from recsys.scoring.statistics import Interval, holm, visible_gain

FEW = 30
"""People below whom a percentile bootstrap interval is clearly too narrow: with 30 normal values an interval of 99 %
covers 98.3 %, with 12 of them 96.0 %."""

Rule = Literal[
    "harm",
    "personal gain, confirmed",
    "gain for the reward ranker only",
    "gain, not personal",
    "gain only where the target is privileged",
    "gain as training data",
    "no gain",
    "nothing to gain",
    "inconclusive",
]
"""The verdicts, in the order in which they are tried: the first whose condition holds is given."""


@dataclass(frozen=True)
class JudgeEvidence:
    """What one judge says of a system under ``candidates``, in the primary metric.

    Attributes:
        judge: its name.
        gain: own pictures less the originals.
        personal: own pictures less permuted owners; None if nobody else has a picture of the same items.
        ownership_p: p-value of the own pictures among permuted owners.
        stranger: own pictures less those that one other person has of the whole list; None if not measured. A list of
            permuted owners mixes pictures of many people: it can be worse than a list made for anybody, even where a
            list made for somebody else would do as well.
        objection: why the judge may not confirm anything; empty if it may.
    """

    judge: str
    gain: Interval
    personal: Interval | None
    ownership_p: float
    objection: str = ""
    stranger: Interval | None = None

    @property
    def p(self) -> float:
        """Of a gain: two-sided, 1 for a loss."""
        return _gain_p(self.gain)

    @property
    def personal_p(self) -> float:
        """Of a personal gain: own pictures are better than permuted owners', and than one stranger's."""
        return max(self.ownership_p, 0.0 if self.stranger is None else _gain_p(self.stranger))


@dataclass(frozen=True)
class Evidence:
    """What a verdict rests on.

    Attributes:
        system: whose pictures.
        metric: the primary one, in words: ``NDCG@10``.
        reward: the ranker that gave the reward, or would have given it to a system that takes one.
        original: the primary metric with the original pictures.
        judges: rankers that took no part.
        rewarded: whether ``reward`` took part in making the pictures; if not, it is a judge like the others.
        reference: own less original in the primary metric under ``reference``, by the reward ranker.
        catalogue: own less original in the primary metric under ``catalogue``.
        barren: why there is nothing to gain by pictures (the diagnosis), if so.
    """

    system: str
    metric: str
    reward: JudgeEvidence
    original: float
    judges: tuple[JudgeEvidence, ...] = ()
    rewarded: bool = True
    reference: Interval | None = None
    catalogue: Interval | None = None
    barren: str = ""

    @property
    def independent(self) -> tuple[JudgeEvidence, ...]:
        """Rankers that took no part in making the pictures."""
        return self.judges if self.rewarded else (self.reward, *self.judges)


@dataclass(frozen=True)
class Verdict:
    """The answer for one system.

    Attributes:
        system: whose pictures.
        rule: the first rule that holds.
        sentence: the answer in words.
        numbers: what it rests on.
        unfit: a sentence for each judge that may not confirm anything, unless the answer says so.
    """

    system: str
    rule: Rule
    sentence: str
    numbers: Mapping[str, Any]
    unfit: Sequence[str] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


class _Rules:
    """The conditions of the rules for one system.

    Args:
        evidence: the numbers.
        smallest_gain: the smallest gain of interest, as a share of the original metric.
        alpha: the probability of a false rejection.
    """

    def __init__(self, evidence: Evidence, smallest_gain: float, alpha: float) -> None:
        self.evidence, self.alpha = evidence, alpha
        self.margin = smallest_gain * evidence.original
        # Each of these could raise a false alarm where there is nothing, so they share one alpha.
        tested = {"candidates": evidence.reward.gain, "reference": evidence.reference, "catalogue": evidence.catalogue}
        self.tested = {protocol: gain for protocol, gain in tested.items() if gain is not None}
        rejected = holm([gain.p for gain in self.tested.values()], alpha)
        self.shown = {protocol for protocol, kept in zip(self.tested, rejected, strict=True) if kept}
        self.confirming = self._confirming(lambda judge: judge.p)
        self.confirming_personal = self._confirming(lambda judge: max(judge.p, judge.personal_p))

    def _confirming(self, p: Callable[[JudgeEvidence], float]) -> list[JudgeEvidence]:
        """Judges who see it, corrected for their number (Holm 1979), among those who may confirm."""
        judges = [judge for judge in self.evidence.independent if not judge.objection]
        rejected = holm([p(judge) for judge in judges], self.alpha)
        return [judge for judge, kept in zip(judges, rejected, strict=True) if kept and judge.gain.low > 0]

    def gains(self, protocol: str) -> bool:
        """Whether a gain under this protocol is left by the correction for their number."""
        return protocol in self.shown and self.tested[protocol].low > 0

    @property
    def gain(self) -> bool:
        """The reward ranker sees a gain."""
        return self.gains("candidates")

    @property
    def personal(self) -> bool:
        """The reward ranker sees more in own pictures than in those of permuted owners and of one stranger."""
        return self.evidence.reward.personal_p <= self.alpha

    def conditions(self) -> Iterator[tuple[Rule, bool, str]]:
        """Rules in order: name, whether it holds, and its sentence."""
        e = self.evidence
        gain, personal = signed(e.reward.gain), "" if e.reward.personal is None else signed(e.reward.personal)
        moved = f"{e.metric} among the candidates changes by {gain} ({100 * (1 - self.alpha):.3g} % interval)"
        yield "harm", "candidates" in self.shown and e.reward.gain.high < 0, f"Personalised pictures do harm: {moved}."
        yield (
            "personal gain, confirmed",
            self.gain and self.personal and bool(self.confirming_personal),
            f"Yes: {moved}, of which {personal} is personal; a ranker that took no part in making the pictures agrees "
            f"({_names(self.confirming_personal)}).",
        )
        yield (
            "gain for the reward ranker only",
            self.gain and not self.confirming,
            f"Not shown: {moved} for {e.reward.judge}, "
            + ("which gave the reward, but " if e.rewarded else "but ")
            + f"{self._silence()}.",
        )
        yield (
            "gain, not personal",
            self.gain,
            f"Better pictures help, but it is not shown that they must be the person's own: {moved}; own less permuted "
            f"owners {personal or 'nothing'}{self._stranger()}.",
        )
        yield (
            "gain only where the target is privileged",
            self.gains("reference"),
            f"No gain in use is shown: {moved}. The item that is tested rises if it alone gets a new picture "
            f"({'' if e.reference is None else signed(e.reference)}), which nobody can do who does not know it.",
        )
        yield (
            "gain as training data",
            self.gains("catalogue"),
            f"No gain by showing them is shown ({gain}), but a ranker trained on the generated pictures is better by "
            f"{'' if e.catalogue is None else signed(e.catalogue)}.",
        )
        yield (
            "no gain",
            -self.margin < e.reward.gain.low and e.reward.gain.high < self.margin,
            f"No: {moved}, and a change of {self.margin:.4f} is excluded.",
        )
        yield "nothing to gain", bool(e.barren), f"Nothing to gain here: {e.barren} ({moved})."
        if e.reward.gain.error == 0 and not e.original:
            yield (
                "inconclusive",
                True,
                f"Not decided: {e.metric} is 0 for everybody, under the original pictures and under the new ones, and "
                "so tells nothing: take longer lists (evaluation.k, evaluation.candidates) or more held-out items.",
            )
        least = visible_gain(e.reward.gain.error, confidence=1 - self.alpha)
        yield (
            "inconclusive",
            True,
            f"Not decided: {moved}{self._correction()}; a gain of {least:.4f} would have been seen with a probability "
            "of 80 %.",
        )

    def _stranger(self) -> str:
        """Own pictures less one stranger's, if that was measured."""
        stranger = self.evidence.reward.stranger
        return "" if stranger is None else f", less one stranger's {signed(stranger)}"

    def _correction(self) -> str:
        """Why an interval that excludes 0 decides nothing."""
        gain = self.evidence.reward.gain
        if gain.low <= 0 <= gain.high:
            return ""
        return f", which the correction for {len(self.tested)} comparisons does not leave"

    def _silence(self) -> str:
        """Why no judge confirms."""
        judges = self.evidence.independent
        if not judges:
            return "no independent judge has looked"
        unfit = [f"{judge.judge} {judge.objection}" for judge in judges if judge.objection]
        heard = [f"{judge.judge} sees {signed(judge.gain)}" for judge in judges if not judge.objection]
        return "; ".join([*heard, *unfit])


def verdict(evidence: Evidence, *, smallest_gain: float = 0.05, alpha: float = 0.05) -> Verdict:
    """The first rule that holds.

    Args:
        evidence: the numbers of one system.
        smallest_gain: the smallest gain of interest, as a share of the metric with the original pictures.
        alpha: the probability of a false rejection; intervals are expected to have the confidence 1 - alpha.
    """
    rules = _Rules(evidence, smallest_gain, alpha)
    rule, _, sentence = next(entry for entry in rules.conditions() if entry[1])
    numbers = {
        name: value
        for name, value in asdict(evidence).items()
        if name not in ("system", "metric") and value not in (None, "", ())
    }
    n = evidence.reward.gain.n
    if n < FEW:
        sentence += (
            f" It rests on {n} people: intervals of fewer than {FEW} are too narrow, so that false alarms are likelier "
            "than alpha says; measure more (evaluation.users, eval_args.split)."
        )
    unfit = tuple(
        f"{judge.judge} may confirm nothing: it {judge.objection}."
        for judge in evidence.independent
        if judge.objection and judge.objection not in sentence
    )
    return Verdict(evidence.system, rule, sentence, numbers | {"smallest gain of interest": rules.margin}, unfit)


def _gain_p(difference: Interval) -> float:
    return difference.p if difference.value > 0 else 1.0


def _names(judges: list[JudgeEvidence]) -> str:
    return " and ".join(judge.judge for judge in judges)
