"""Measures of recommendation lists, worked out by hand."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recsys.scoring.lists import catalogue_coverage, jaccard, list_agreement, mean_popularity, rbo, substituted_scorer
from recsys.scoring.ranks import top_lists


def lists(**items: str) -> pd.DataFrame:
    """A list for each user, its items one letter each."""
    rows = [(user, item, rank) for user, letters in items.items() for rank, item in enumerate(letters, start=1)]
    return pd.DataFrame(rows, columns=pd.Index(["user", "item", "rank"]))


def test_coverage_is_the_share_of_items_in_some_list() -> None:
    """a, b and c of ten items."""
    assert catalogue_coverage(lists(u="ab", v="bc"), 10) == 0.3


def test_popularity_is_the_mean_number_of_training_interactions() -> None:
    """Item a has 3, b has 1, c none: u's list (a, b) has mean 2, v's (b, c) .5."""
    dataset: Any = SimpleNamespace(
        interactions=SimpleNamespace(train=(np.array([1, 2, 3, 1]), np.array([1, 1, 1, 2]))),
        item_tokens=np.array(["[PAD]", "a", "b", "c"]),
        n_items=4,
    )
    assert mean_popularity(lists(u="ab", v="bc"), dataset).to_dict() == {"u": 2.0, "v": 0.5}


def test_jaccard_counts_items_and_not_places() -> None:
    assert jaccard("abc", "cba") == 1
    assert jaccard("ab", "bc") == pytest.approx(1 / 3)


def test_rank_biased_overlap_by_hand() -> None:
    """(a, b) and (b, a) at p = .5: agreement 0 at depth 1 and 1 at depth 2.

    1 * .5^2 + (1 - .5) / .5 * (0 * .5 + 1 * .5^2) = .25 + .25 = .5. With (a, c) instead of (b, a): 1 at depth 1 and 1/2
    at depth 2: .5 * .25 + (1 * .5 + .5 * .25) = .125 + .625 = .75.
    """
    assert rbo("ab", "ba", p=0.5) == pytest.approx(0.5)
    assert rbo("ab", "ac", p=0.5) == pytest.approx(0.75)


@given(st.permutations(list("abcdefgh")), st.integers(1, 8), st.floats(0.05, 0.95))
def test_rank_biased_overlap_is_a_similarity(order: list[str], k: int, p: float) -> None:
    first, second = list("abcdefgh")[:k], order[:k]
    value = rbo(first, second, p=p)
    assert -1e-12 <= value <= 1 + 1e-12
    assert value == pytest.approx(rbo(second, first, p=p))
    assert rbo(first, first, p=p) == pytest.approx(1)
    assert rbo(first, [letter.upper() for letter in second], p=p) == 0


@pytest.mark.parametrize(
    ("a", "b", "p", "words"), [("ab", "a", 0.9, "2 and 1"), ("", "", 0.9, "0 and 0"), ("a", "a", 1, "is 1")]
)
def test_rank_biased_overlap_refuses_what_it_is_not_defined_for(a: str, b: str, p: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        rbo(a, b, p=p)


def test_agreement_is_by_user_whatever_the_order_of_rows() -> None:
    """u's list keeps one of two items, v's both in other places."""
    after = lists(v="dc", u="ax").sample(frac=1, random_state=0)
    found = list_agreement(lists(u="ab", v="cd"), after, p=0.5)
    assert found.loc["u"].to_dict() == pytest.approx({"changed": 0.5, "jaccard": 1 / 3, "rbo": 0.75})
    assert found.loc["v"].to_dict() == pytest.approx({"changed": 0, "jaccard": 1, "rbo": 0.5})
    with pytest.raises(ValueError, match="same people, got 1 and 2"):
        list_agreement(lists(u="ab"), after)


def test_a_substituted_scorer_changes_its_pairs_alone() -> None:
    original = torch.arange(12.0).view(3, 4)  # user u scores item i by 4 u + i
    changed = substituted_scorer(
        lambda users: original[users], np.array([2, 0]), np.array([1, 3]), torch.tensor([-1.0, 50.0])
    )
    assert changed(torch.tensor([0, 2])).tolist() == [[0, 1, 2, 50], [8, -1, 10, 11]]
    assert changed(torch.tensor([1])).tolist() == [[4, 5, 6, 7]]
    assert original[2, 1] == 9


def test_candidates_with_new_scores_are_ranked_again_within_the_whole_list() -> None:
    """Items a to f score 6 to 1, the user knows f; the top two, a and b, get the scores 2.5 and 7.

    Before: a, b, c. Afterwards b leads, and a, with 2.5, has c (4) and d (3) before it and e (2) behind: b, c, d.
    """
    empty = (np.array([], int), np.array([], int))
    dataset: Any = SimpleNamespace(
        interactions=SimpleNamespace(train=(np.array([1]), np.array([6])), valid=empty, test=empty),
        user_tokens=np.array(["[PAD]", "u"]),
        item_tokens=np.array(["[PAD]", *"abcdef"]),
        n_items=7,
    )
    scores = torch.tensor([[0.0] * 7, [-torch.inf, 6, 5, 4, 3, 2, 1]])
    changed = substituted_scorer(lambda u: scores[u], np.array([1, 1]), np.array([1, 2]), torch.tensor([2.5, 7.0]))
    before, after = (
        top_lists(score, dataset, k=3, users=[1], candidates="all") for score in (lambda u: scores[u].clone(), changed)
    )
    assert before["item"].tolist() == ["a", "b", "c"]
    assert list(zip(after["item"], after["score"], strict=True)) == [("b", 7), ("c", 4), ("d", 3)]
    everything = top_lists(changed, dataset, k=6, users=[1], candidates="all")
    assert everything["item"].tolist() == ["b", "c", "d", "a", "e"]  # f is known
    assert list_agreement(before, after).loc["u", "changed"] == pytest.approx(1 / 3)
