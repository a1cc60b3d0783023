"""Ownership permutation by hand: two people, two items, every assignment enumerated."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ragar_rec.evaluation.ownership import CandidateLists, ItemScores, ReferenceLists, ownership_test, permutation_p
from ragar_rec.evaluation.protocols import Candidates, Reference, Task
from recsys.scoring.metrics import ndcg_at, recall_at

INF = float("inf")


def task(user: int, scores: list[float], *targets: int) -> Task:
    return Task(user, np.array(targets), np.array([0]), torch.tensor([-INF, *scores]))


# Items 1, 2, 3; both people's lists of two hold items 1 and 2, the held-out one is item 2, at rank 2.
TASKS = [task(1, [3.0, 2.0, 1.0], 2), task(2, [3.0, 2.0, 1.0], 2)]
DISCOUNT = 1 / np.log2(3)


def test_metrics_are_those_of_the_protocol() -> None:
    tasks = [task(1, [3.0, 2.0, 1.0], 2, 3), task(2, [1.0, 2.0, 3.0], 1)]
    for k in (1, 2, 3):
        for metric in ("ndcg", "recall"):
            lists = CandidateLists(tasks, Candidates(2), metric, k)
            of = recall_at if metric == "recall" else ndcg_at
            kept = [
                Candidates(2).ranks(each, each.scores[torch.from_numpy(Candidates(2).items(each))]) for each in tasks
            ]
            expected = [of(after, k) for _, after in kept]
            assert lists.metric(lists.scores[None])[0].tolist() == pytest.approx(expected)


def test_permuted_owners_by_enumeration() -> None:
    # Item 2 rises above item 1 for a person who sees the own picture, and stays below with the other's.
    pictures = ItemScores(np.array([1, 2]), np.array([[4.0, 0.0], [0.0, 4.0]]))
    result = ownership_test(CandidateLists(TASKS, Candidates(2), "ndcg", 2), {2: pictures}, permutations=4000, seed=0)
    assert result.own.to_dict() == {1: 1.0, 2: 1.0}
    # Two assignments, equally likely: own pictures (1, 1), exchanged ones (1 / log2 3 each).
    assert set(result.draws.round(12)) == {1.0, round(DISCOUNT, 12)}
    assert result.permuted[1] == pytest.approx((1 + DISCOUNT) / 2, abs=0.01)
    assert result.p == pytest.approx(0.5, abs=0.03)


def test_pictures_of_people_without_the_item_in_their_list_are_drawn_too() -> None:
    # Three pictures for one viewer: a third of the draws show each.
    pictures = ItemScores(np.array([1]), np.array([[4.0, 0.0, 0.0]]))
    result = ownership_test(
        CandidateLists(TASKS[:1], Candidates(2), "ndcg", 2), {2: pictures}, permutations=3000, seed=1
    )
    assert (result.draws == 1).mean() == pytest.approx(1 / 3, abs=0.03)


def test_an_item_without_pictures_keeps_its_score() -> None:
    result = ownership_test(CandidateLists(TASKS, Candidates(2), "ndcg", 2), {}, permutations=5, seed=0)
    assert result.own.tolist() == [pytest.approx(DISCOUNT)] * 2
    assert result.p == 1.0


def test_the_observed_assignment_counts() -> None:
    assert permutation_p(0.5, np.array([0.1, 0.2, 0.3])) == 1 / 4
    assert permutation_p(0.2, np.array([0.1, 0.2, 0.3])) == 3 / 4


def test_under_reference_each_item_alone_has_another_score() -> None:
    tasks = [task(1, [3.0, 2.0, 1.0], 2, 3), task(2, [1.0, 2.0, 3.0], 1)]
    scores = [[[2.5, 3.5], [3.0, -INF]], [[0.0, 0.0], [9.0, -INF]]]
    for k in (1, 2, 3):
        for metric, of in (("ndcg", ndcg_at), ("recall", recall_at)):
            lists = ReferenceLists(tasks, Reference(), metric, k)
            for row, shown in enumerate(scores):
                after = [
                    Reference().ranks(each, torch.tensor(values[: len(each.targets)]))[1]
                    for each, values in zip(tasks, shown, strict=True)
                ]
                actual = lists.metric(np.array(scores))[row].tolist()
                assert actual == pytest.approx([of(ranks, k) for ranks in after])
