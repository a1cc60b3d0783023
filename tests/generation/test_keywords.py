"""Keywords: rare words first, and frequencies that count retrieval weights."""

import pytest

from generation.keywords import TfidfKeywords, frequent, parts
from generation_world import Shape

ITEMS = [Shape(str(i)) for i in range(3)]


def test_parts_of_a_caption() -> None:
    assert parts("Action, Sci-Fi, 1990s in navy, teal") == ["Action", "Sci-Fi", "1990s", "navy", "teal"]
    assert parts("") == []
    assert parts(" , navy ,, ") == ["navy"]


def test_the_rarest_words_come_first_and_ties_are_alphabetical() -> None:
    # document frequencies: war 3, drama 2, the others 1; idf falls with it
    captions = ["war, drama in navy", "war, drama, teal", "war in ochre, amber"]
    assert TfidfKeywords()(ITEMS, captions) == [
        ("navy", "drama", "war"), ("teal", "drama", "war"), ("amber", "ochre", "war"),
    ]  # fmt: skip
    assert TfidfKeywords(per_item=2)(ITEMS, captions)[2] == ("amber", "ochre")


def test_a_word_said_twice_counts_twice() -> None:
    # idf(war) = ln(3/3) + 1 = 1 twice gives 2; idf(teal) = ln(3/2) + 1 = 1.41 once
    assert TfidfKeywords(per_item=1)(ITEMS[:2], ["war, war, teal", "war"]) == [("war",), ("war",)]


def test_captions_without_words_have_no_keywords() -> None:
    assert TfidfKeywords()(ITEMS, ["", " , ", ""]) == [(), (), ()]
    assert TfidfKeywords()(ITEMS[:2], ["", "war"]) == [(), ("war",)]


def test_frequencies_count_retrieval_weights() -> None:
    keywords = [("war", "navy"), ("war", "teal"), ("teal", "navy", "gold")]
    words, counts = frequent(keywords, [0.5, 0.3, 0.2], 3)
    # war .5 + .3, navy .5 + .2, teal .3 + .2, gold .2
    assert words == ("war", "navy", "teal")
    assert counts == pytest.approx((0.8, 0.7, 0.5))


def test_equal_weights_are_the_papers_plain_count_and_ties_keep_the_order_of_retrieval() -> None:
    words, counts = frequent([("b", "a"), ("c", "a"), ("d",)], [1 / 3] * 3, 10)
    assert words == ("a", "b", "c", "d")
    assert counts == pytest.approx((2 / 3, 1 / 3, 1 / 3, 1 / 3))


def test_an_item_says_a_word_once_and_weight_zero_says_nothing() -> None:
    assert frequent([("war", "war"), ("teal",)], [1.0, 0.0], 5) == (("war",), (1.0,))
    assert frequent([], [], 5) == ((), ())


def test_every_item_needs_a_weight() -> None:
    with pytest.raises(ValueError, match="zip"):
        frequent([("war",)], [0.5, 0.5], 3)
