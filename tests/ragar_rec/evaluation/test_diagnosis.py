"""Findings of a diagnosis on frames whose answer is known."""

import json
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from ragar_rec.evaluation.diagnosis import barren, findings
from ragar_rec.evaluation.finding import COLUMNS, Finding
from recsys.scoring.statistics import Interval

PEOPLE = 40
NDCG = "ndcg@10"


def frame_of(values: Mapping[tuple[str, str], float]) -> pd.DataFrame:
    """40 people, each with the value of (step, subject) plus a small noise that is the same for all subjects."""
    noise = np.random.default_rng(0).normal(0, 0.01, PEOPLE)
    rows = [
        (step, subject, NDCG if step in ("reading", "equal treatment") else "score", str(user), value + noise[user])
        for (step, subject), value in values.items()
        for user in range(PEOPLE)
    ]
    return pd.DataFrame(rows, columns=pd.Index(COLUMNS))


WORLD: dict[tuple[str, str], float] = {
    ("reading", "own"): 0.5,
    ("reading", "trained on shuffled"): 0.4,
    ("reading", "image permuted"): 0.3,
    ("reading", "Pop"): 0.2,
    ("reading", "EASE"): 0.45,
    ("headroom", "own"): 0.8,
    ("headroom", "stranger"): 0.5,
    ("headroom", "everybody"): 0.4,
    ("retrieval", "own"): 0.3,
    ("retrieval", "stranger"): 0.1,
    ("equal treatment", "original"): 0.2,
    ("equal treatment", "best of pool"): 0.35,
    ("equal treatment", "retrieved"): 0.25,
    ("equal treatment", "random item"): 0.1,
}


def found(changes: dict[tuple[str, str], float], share: float = 0.8) -> dict[str, Finding]:
    return {f.step: f for f in findings(frame_of(WORLD | changes), metric=NDCG, personal_share=share, resamples=200)}


def test_a_world_with_something_to_gain_needs_no_advice() -> None:
    """Differences are exact, as the noise is the same: .5 - .4, .5 - .45, .8 - .5, .3 - .1 and .35 - .2."""
    result = found({})
    assert list(result) == ["reading", "baselines", "headroom", "retrieval", "equal treatment", "power"]
    assert not any(finding.advice for finding in result.values())
    assert result["reading"].answer == (
        "Yes: trained on the pictures of other items it would lose +0.1000 [+0.1000, +0.1000] of NDCG@10."
    )
    assert "Yes: better by +0.0500 [+0.0500, +0.0500] than EASE, the best of Pop, EASE." in result["baselines"].answer
    assert "of these +0.3000 [+0.3000, +0.3000] are personal" in result["headroom"].answer
    assert "80% of the ranker's reaction" in result["headroom"].answer
    assert "+0.2000 [+0.2000, +0.2000] more than one from a stranger's" in result["retrieval"].answer
    assert "would move by +0.1500" in result["equal treatment"].answer
    assert result["power"].numbers["smallest visible gain"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("changes", "step", "words"),
    [
        ({("reading", "trained on shuffled"): 0.5}, "reading", "uses pictures as names of items"),
        (
            {("reading", "trained on shuffled"): 0.5, ("reading", "image permuted"): 0.5},
            "reading",
            "Not so that it shows",
        ),
        ({("reading", "EASE"): 0.6}, "baselines", "No: EASE, which sees no picture, is better by +0.1000"),
        ({("reading", "EASE"): 0.5}, "baselines", "It is level with EASE"),
        ({("headroom", "stranger"): 0.8}, "headroom", "Nothing personal"),
        ({("retrieval", "stranger"): 0.3}, "retrieval", "+0.0000 [+0.0000, +0.0000] more than one"),
        ({("equal treatment", "best of pool"): 0.2}, "equal treatment", "would move by +0.0000"),
    ],
)
def test_where_a_gain_is_lost(changes: dict[tuple[str, str], float], step: str, words: str) -> None:
    finding = found(changes)[step]
    assert words in finding.answer
    assert finding.advice or "level with" in words


def test_a_ranker_that_rewards_what_pleases_everybody_is_said() -> None:
    assert "pleases everybody alike" in found({}, share=0.2)["headroom"].advice


def test_findings_are_plain_data_and_come_back_from_it() -> None:
    finding = found({})["headroom"]
    tree = finding.as_dict()
    assert tree["numbers"]["personal"]["value"] == pytest.approx(0.3)
    assert tree["numbers"]["personal share"] == 0.8
    assert Finding.from_dict(json.loads(json.dumps(tree))) == finding


GENERATOR: dict[tuple[str, str], float] = {
    ("reach", "own"): 0.5,
    ("reach", "stranger"): 0.2,
    ("learned", "own"): 0.25,
    ("learned", "stranger"): 0.15,
    ("codec", "own"): 0.1,
}


def test_a_generator_stands_between_retrieval_and_equal_treatment() -> None:
    result = found(GENERATOR)
    assert list(result)[3:8] == ["retrieval", "reach", "learned", "codec", "equal treatment"]
    assert not any(result[step].advice for step in ("reach", "learned", "codec"))
    assert "for each of 40 people, its picture gains +0.4994" in result["reach"].answer
    assert "and +0.3000 [+0.3000, +0.3000] over the one optimised" in result["reach"].answer
    assert "and +0.1000 [+0.1000, +0.1000] over the one made" in result["learned"].answer


@pytest.mark.parametrize(
    ("changes", "step", "words"),
    [
        ({("reach", "own"): -0.2, ("reach", "stranger"): -0.3}, "reach", "Not even the best picture"),
        ({("reach", "stranger"): 0.5}, "reach", "no reward can teach what cannot be drawn"),
        ({("learned", "stranger"): 0.25}, "learned", "could draw what is personal and did not learn to"),
        ({("learned", "stranger"): 0.25, ("reach", "stranger"): 0.5}, "learned", "may please everybody alike"),
        ({("codec", "own"): -0.3}, "codec", "adapt the backbone"),
    ],
)
def test_what_to_change_about_a_generator(changes: dict[tuple[str, str], float], step: str, words: str) -> None:
    assert words in found(GENERATOR | changes)[step].advice


def test_a_step_that_was_left_out_says_why() -> None:
    learned = {key: value for key, value in GENERATOR.items() if key[0] == "learned"}
    reasons = {"reach": "Shade gives no gradient of its pictures.", "codec": "Shade has no codec."}
    result = findings(frame_of(WORLD | learned), metric=NDCG, personal_share=0.8, left_out=reasons, resamples=20)
    answers = {finding.step: finding.answer for finding in result}
    assert answers["reach"] == "Left out: Shade gives no gradient of its pictures."
    assert answers["codec"] == "Left out: Shade has no codec."


def test_where_nobody_differs_intervals_have_no_width() -> None:
    """Every person has the same value: a constant metric."""
    frame = frame_of(WORLD | GENERATOR)
    frame["value"] = 0.0
    result = {f.step: f for f in findings(frame, metric=NDCG, personal_share=float("nan"), resamples=20)}
    assert result["learned"].numbers["own"] == Interval(0.0, 0.0, 0.0, PEOPLE)
    assert "may please everybody alike" in result["learned"].advice
    assert result["power"].numbers["smallest visible gain"] == 0


@pytest.mark.parametrize(
    ("shuffled", "personal", "reason"),
    [
        (0.01, 0.2, ""),
        (-0.01, 0.2, "the ranker is not shown to read pictures, its lead over a training on shuffled ones is -0.0100"),
        (0.01, -0.1, "no picture is shown to be better for one person than for another, by -0.1000"),
    ],
)
def test_there_is_nothing_to_gain_if_one_of_the_first_two_steps_fails(
    shuffled: float, personal: float, reason: str
) -> None:
    def finding(step: str, name: str, value: float) -> Finding:
        return Finding(step, "?", "", "", {name: Interval(value, value - 0.005, value + 0.005, 9)})

    found = [finding("reading", "trained on shuffled", shuffled), finding("headroom", "personal", personal)]
    assert barren(found).startswith(reason)
    assert bool(barren(found)) == bool(reason)
    assert barren([]) == ""
