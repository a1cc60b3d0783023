"""Verdicts by hand-made evidence, a case for each rule, and the order in which the rules are tried."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ragar_rec.evaluation.verdict import Evidence, JudgeEvidence, verdict
from recsys.scoring.statistics import Interval


def interval(value: float, half: float) -> Interval:
    """An interval of 95 % around the value: the error is half its half-width, nearly."""
    return Interval(value, value - half, value + half, 100, half / 1.96)


UP, FLAT, WIDE, DOWN = interval(0.02, 0.01), interval(0.0, 0.001), interval(0.0, 0.02), interval(-0.02, 0.01)
SEEN = JudgeEvidence("MICRO on dual", UP, UP, ownership_p=0.001)
JUDGE = JudgeEvidence("VBPR on hog", UP, UP, ownership_p=0.001)
CONFIRMED = Evidence("RAGAR", "NDCG@10", SEEN, original=0.1, judges=(JUDGE,))


def with_gain(gain: Interval, **changes: object) -> Evidence:
    return replace(CONFIRMED, reward=replace(SEEN, gain=gain), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("evidence", "rule"),
    [
        (CONFIRMED, "personal gain, confirmed"),
        (with_gain(DOWN, reference=UP), "harm"),
        (replace(CONFIRMED, judges=()), "gain for the reward ranker only"),
        (replace(CONFIRMED, judges=(replace(JUDGE, gain=WIDE),)), "gain for the reward ranker only"),
        (
            replace(CONFIRMED, judges=(replace(JUDGE, objection="reads no pictures"),)),
            "gain for the reward ranker only",
        ),
        # A judge that sees a gain, but none in ownership, confirms the gain and not that it is personal.
        (replace(CONFIRMED, judges=(replace(JUDGE, ownership_p=0.5),)), "gain, not personal"),
        (replace(CONFIRMED, reward=replace(SEEN, ownership_p=0.2)), "gain, not personal"),
        # Worth more than permuted owners', which are a mixture, and no more than a list that is one stranger's.
        (replace(CONFIRMED, reward=replace(SEEN, stranger=WIDE)), "gain, not personal"),
        (replace(CONFIRMED, judges=(replace(JUDGE, stranger=WIDE),)), "gain, not personal"),
        (replace(CONFIRMED, reward=replace(SEEN, stranger=UP)), "personal gain, confirmed"),
        (with_gain(WIDE, reference=UP), "gain only where the target is privileged"),
        (with_gain(WIDE, reference=UP, catalogue=UP), "gain only where the target is privileged"),
        (with_gain(WIDE, catalogue=UP), "gain as training data"),
        # Five hundredths of .1 are .005: the interval of .001 lies inside.
        (with_gain(FLAT), "no gain"),
        (with_gain(FLAT, barren="the ranker reads no pictures"), "no gain"),
        (with_gain(WIDE, barren="the ranker reads no pictures"), "nothing to gain"),
        (with_gain(WIDE), "inconclusive"),
    ],
)
def test_the_first_rule_that_holds_is_given(evidence: Evidence, rule: str) -> None:
    assert verdict(evidence).rule == rule


def test_a_ranker_that_gave_no_reward_may_confirm_itself() -> None:
    assert verdict(replace(CONFIRMED, judges=(), rewarded=False)).rule == "personal gain, confirmed"


def test_judges_are_corrected_for_their_number() -> None:
    weak = replace(JUDGE, gain=interval(0.02, 0.0195))  # p = .044 alone; of two judges .025 is asked for
    assert verdict(replace(CONFIRMED, judges=(weak,))).rule == "personal gain, confirmed"
    other = replace(JUDGE, judge="LATTICE on hog", gain=WIDE)
    assert verdict(replace(CONFIRMED, judges=(weak, other))).rule == "gain for the reward ranker only"


def test_protocols_are_corrected_for_their_number() -> None:
    """p = .044 is a gain alone; beside `reference`, which shows nothing, .025 is asked for."""
    weak = interval(0.02, 0.0195)
    assert verdict(with_gain(weak)).rule == "personal gain, confirmed"
    undecided = verdict(with_gain(weak, reference=WIDE))
    assert undecided.rule == "inconclusive"
    assert "which the correction for 2 comparisons does not leave" in undecided.sentence
    assert verdict(with_gain(interval(-0.02, 0.0195), reference=WIDE)).rule == "inconclusive"
    assert verdict(with_gain(WIDE, reference=weak)).rule == "inconclusive"


def test_sentences_carry_their_numbers() -> None:
    assert verdict(CONFIRMED).sentence == (
        "Yes: NDCG@10 among the candidates changes by +0.0200 [+0.0100, +0.0300] (95 % interval), of "
        "which +0.0200 [+0.0100, +0.0300] is personal; a ranker that took no part in making the pictures agrees (VBPR "
        "on hog)."
    )
    # (1.95996 + .84162) x .02 / 1.96 = .02859
    assert verdict(with_gain(WIDE)).sentence == (
        "Not decided: NDCG@10 among the candidates changes by +0.0000 [-0.0200, +0.0200] (95 % interval); a "
        "gain of 0.0286 would have been seen with a probability of 80 %."
    )
    assert "no independent judge has looked" in verdict(replace(CONFIRMED, judges=())).sentence
    unfit = replace(JUDGE, objection="reads no pictures")
    assert "VBPR on hog reads no pictures" in verdict(replace(CONFIRMED, judges=(unfit,))).sentence


def test_a_metric_that_is_the_same_for_everybody_decides_nothing() -> None:
    """NDCG@10 of nobody's list holds a hit, by whatever pictures: no error, and no share of 0 to compare it with."""
    nothing = Interval(0.0, 0.0, 0.0, 150, 0.0)
    found = verdict(replace(with_gain(nothing), original=0.0))
    assert found.rule == "inconclusive"
    assert found.sentence == (
        "Not decided: NDCG@10 is 0 for everybody, under the original pictures and under the new ones, and so tells "
        "nothing: take longer lists (evaluation.k, evaluation.candidates) or more held-out items."
    )
    # Where lists have hits, a change of exactly 0 for everybody is an answer.
    assert verdict(with_gain(nothing)).rule == "no gain"


def test_judges_that_may_not_confirm_stand_beside_every_verdict() -> None:
    unfit = replace(JUDGE, objection="does not move under random pictures")
    for evidence in (with_gain(WIDE, judges=(unfit, JUDGE)), replace(CONFIRMED, judges=(unfit, JUDGE))):
        assert verdict(evidence).unfit == ("VBPR on hog may confirm nothing: it does not move under random pictures.",)
    assert verdict(CONFIRMED).unfit == ()
    only = verdict(replace(CONFIRMED, judges=(unfit,)))
    assert unfit.objection in only.sentence
    assert only.unfit == ()
    # A ranker that gave no reward is a judge like the others.
    unread = replace(SEEN, objection="does not read pictures", gain=WIDE)
    assert verdict(replace(CONFIRMED, reward=unread, judges=(), rewarded=False)).unfit == (
        "MICRO on dual may confirm nothing: it does not read pictures.",
    )


def test_numbers_are_plain_data() -> None:
    numbers = verdict(CONFIRMED).as_dict()["numbers"]
    assert numbers["reward"]["gain"]["value"] == 0.02
    assert numbers["smallest gain of interest"] == pytest.approx(0.005)
    assert "reference" not in numbers


def test_a_system_without_reward_is_told_why_its_ranker_confirms_nothing() -> None:
    unread = replace(SEEN, objection="was not compared with itself trained on shuffled pictures")
    found = verdict(replace(CONFIRMED, reward=unread, judges=(), rewarded=False))
    assert found.rule == "gain for the reward ranker only"
    assert found.sentence.endswith("MICRO on dual was not compared with itself trained on shuffled pictures.")


def test_few_people_are_named() -> None:
    """The rule stays; 29 people are too few for an interval to be taken at its word, 30 are not."""
    few = replace(CONFIRMED, reward=replace(CONFIRMED.reward, gain=replace(CONFIRMED.reward.gain, n=29)))
    assert verdict(few).rule == verdict(CONFIRMED).rule
    assert verdict(few).sentence.startswith(verdict(CONFIRMED).sentence + " It rests on 29 people: intervals of fewer")
    enough = replace(CONFIRMED, reward=replace(CONFIRMED.reward, gain=replace(CONFIRMED.reward.gain, n=30)))
    assert "It rests on" not in verdict(enough).sentence
