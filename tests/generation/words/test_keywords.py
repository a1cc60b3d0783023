"""Keywords: rare words first, and frequencies weighted by retrieval weights."""

import pytest

from chat_world import save_chat_model
from generation.words.instruction import InstructionModel
from generation.words.keywords import LlmKeywords, TfidfKeywords, content_words, most_frequent, split_phrases
from generation.words.prompts import keyword_prompt
from generation_world import Shape

ITEMS = [Shape(str(i)) for i in range(3)]


def test_phrases_of_a_caption() -> None:
    assert split_phrases("Action, Sci-Fi, 1990s in navy, teal") == ["Action", "Sci-Fi", "1990s", "navy", "teal"]
    assert split_phrases("") == []
    assert split_phrases(" , navy ,, ") == ["navy"]


def test_the_rarest_words_come_first_and_ties_are_alphabetical() -> None:
    # document frequencies: war 3, drama 2, the others 1; idf falls with it
    captions = ["war, drama in navy", "war, drama, teal", "war in ochre, amber"]
    assert TfidfKeywords()(ITEMS, captions) == [
        ("navy", "drama", "war"),
        ("teal", "drama", "war"),
        ("amber", "ochre", "war"),
    ]
    assert TfidfKeywords(per_item=2)(ITEMS, captions)[2] == ("amber", "ochre")


def test_one_word_in_two_cases_of_letters_is_one_keyword_as_it_stands_first() -> None:
    # war has document frequency 3 in any case, drama 2, teal 1; the most frequent word is said last
    captions = ["War, drama", "war, DRAMA, teal", "WAR"]
    assert TfidfKeywords()(ITEMS, captions) == [("drama", "War"), ("teal", "drama", "War"), ("War",)]


def test_a_phrase_that_occurs_twice_counts_twice() -> None:
    # idf(war) = ln(3/3) + 1 = 1 twice gives 2; idf(teal) = ln(3/2) + 1 = 1.41 once
    assert TfidfKeywords(per_item=1)(ITEMS[:2], ["war, war, teal", "war"]) == [("war",), ("war",)]


def test_captions_without_words_have_no_keywords() -> None:
    assert TfidfKeywords()(ITEMS, ["", " , ", ""]) == [(), (), ()]
    assert TfidfKeywords()(ITEMS[:2], ["", "war"]) == [(), ("war",)]


def test_frequencies_count_retrieval_weights() -> None:
    keywords = [("war", "navy"), ("war", "teal"), ("teal", "navy", "gold")]
    words, counts = most_frequent(keywords, [0.5, 0.3, 0.2], 3)
    # war .5 + .3, navy .5 + .2, teal .3 + .2, gold .2
    assert words == ("war", "navy", "teal")
    assert counts == pytest.approx((0.8, 0.7, 0.5))


def test_equal_weights_are_the_papers_plain_count_and_ties_keep_the_order_of_retrieval() -> None:
    words, counts = most_frequent([("b", "a"), ("c", "a"), ("d",)], [1 / 3] * 3, 10)
    assert words == ("a", "b", "c", "d")
    assert counts == pytest.approx((2 / 3, 1 / 3, 1 / 3, 1 / 3))


def test_an_item_counts_a_word_once_and_weight_zero_counts_nothing() -> None:
    assert most_frequent([("war", "war"), ("teal",)], [1.0, 0.0], 5) == (("war",), (1.0,))
    assert most_frequent([], [], 5) == ((), ())


def test_every_item_needs_a_weight() -> None:
    with pytest.raises(ValueError, match="zip"):
        most_frequent([("war",)], [0.5, 0.5], 3)


def test_sentences_are_split_into_content_words() -> None:
    assert content_words("A man is standing in the Sci-Fi city of 1984") == [
        "man",
        "standing",
        "sci-fi",
        "city",
        "1984",
    ]
    captions = ["a man in a city", "a man and a dog", "a man"]
    # document frequencies: man 3, the others 1
    expected = [("city", "man"), ("dog", "man"), ("man",)]
    assert TfidfKeywords(split=content_words)(ITEMS, captions) == expected


# --- an instruction LLM ---------------------------------------------------------------------------------------------

PROMPT = "{caption} | {text} | {n}"
ANSWERS = {
    "red circle | Ball | 2": "1. Red\n2. Circle\n3. Toy",
    "blue bar | Sea | 2": "I'm sorry, but I cannot see it.",
    "green |  | 2": "Keywords: Leaf, leaf",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> InstructionModel:
    return InstructionModel.from_pretrained(save_chat_model(tmp_path_factory.mktemp("llm"), ANSWERS))


def test_the_llm_reads_caption_and_text_and_its_answers_are_parsed(model: InstructionModel) -> None:
    extract = LlmKeywords(model, per_item=2, prompt=PROMPT)
    keywords = extract([Shape("a", "Ball"), Shape("b", "Sea"), Shape("c")], ["red circle", "blue bar", "green"])
    assert keywords == [("red", "circle"), (), ("leaf",)]  # two of three; an apology; a duplicate
    assert extract([], []) == []


def test_an_item_without_a_usable_answer_counts_but_adds_no_word(model: InstructionModel) -> None:
    keywords = LlmKeywords(model, per_item=2, prompt=PROMPT)(
        [Shape("a", "Ball"), Shape("b", "Sea")], ["red circle", "blue bar"]
    )
    assert most_frequent(keywords, [0.6, 0.4], 5) == (("red", "circle"), (0.6, 0.6))


def test_nothing_usable_for_any_item_is_one_sentence_with_the_first_answer(model: InstructionModel) -> None:
    with pytest.raises(ValueError, match=r"no usable keyword for any of 1 items .*answered \"I'm sorry, but I cannot"):
        LlmKeywords(model, per_item=2, prompt=PROMPT)([Shape("b", "Sea")], ["blue bar"])


def test_the_packages_prompt_is_filled_and_a_long_text_is_cut(model: InstructionModel) -> None:
    words = " ".join(["word"] * 150)
    prompt = keyword_prompt().format(caption="red circle", text=words, n=3)
    # too long for this model, whose error counts the tokens of the prompt
    with pytest.raises(ValueError, match=rf" has {len(model._encode(prompt))} tokens .* the 512 that"):
        LlmKeywords(model, per_item=3)([Shape("a", description="word\n" * 1000)], ["red circle"])
