# ruff: noqa: RUF001
"""Answers as instruction LLMs write them, and the keywords in each."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generation.words.answers import keywords_in

THREE = ("film noir", "rain", "neon")

SAME = {
    "as asked": "film noir, rain, neon",
    "capitals and a full stop": "Film noir, Rain, Neon.",
    "numbers": "1. Film noir\n2. Rain\n3. Neon",
    "numbers with brackets": "1) film noir\n2) rain\n3) neon\n",
    "numbers in one line": "1. Film noir 2. Rain 3. Neon",
    "numbers between commas": "1. Film noir, 2. Rain, 3. Neon",
    "circled numbers": "①film noir ②rain ③neon",
    "bullets": "- film noir\n- rain\n- neon",
    "stars and bold": "* **Film noir**\n* **Rain**\n* **Neon**",
    "round bullets": "• Film noir\n• Rain\n• Neon",
    "a polite opening": "Sure! Here are the keywords:\n\n1. Film noir\n2. Rain\n3. Neon",
    "an opening in the same line": "Here are three keywords for the item: film noir, rain, neon",
    "a label": "Keywords: film noir, rain, neon",
    "a bold label": "**Keywords:** film noir, rain, neon",
    "a heading": "### Keywords\n- film noir\n- rain\n- neon",
    "quotes": "\"film noir\", 'rain', “neon”",
    "guillemets": "«film noir», «rain», «neon»",
    "JSON": '["film noir", "rain", "neon"]',
    "fenced JSON": '```json\n{\n  "keywords": [\n    "film noir",\n    "rain",\n    "neon"\n  ]\n}\n```',
    "JSON with a key each": '{"keyword1": "film noir", "keyword2": "rain", "keyword3": "neon"}',
    "JSON with scores": '{"film noir": 0.9, "rain": 0.8, "neon": 0.7}',
    "a Python list": "['film noir', 'rain', 'neon']",
    "explanations behind colons": "1. **Film noir**: a dark, moody style\n2. Rain: falls all night\n3. Neon: the signs",
    "explanations behind dashes": "- Film noir – a dark, moody style\n- Rain - it never stops\n- Neon — signs",
    "explanations in brackets": "1. Film noir (dark, moody)\n2. Rain (all night)\n3. Neon",
    "an explanation below": "film noir, rain, neon\n\nExplanation: I chose these as it is dark, wet, bright.",
    "a sentence behind": "Film noir, rain, neon. These keywords reflect the dark mood of the picture.",
    "categories": "Genre: film noir\nSetting: rain\nColors: neon",
    "duplicates": "film noir, rain, Film Noir, rain, neon, rain",
    "a loop": "film noir, rain, neon" + ", neon" * 50,
    "hash tags": "#film noir #rain #neon",
    "semicolons": "film noir; rain; neon",
    "bars": "film noir | rain | neon",
    "and": "film noir, rain, and neon",
    "articles": "a film noir, the rain, neon",
    "wide characters": "film noir，rain、ｎｅｏｎ。",
    "an empty line in between": "film noir\n\n\nrain\n\nneon",
    "a thought": "<think>The user wants keywords: dark, wet.</think>\nfilm noir, rain, neon",
    "a thought that began in the prompt": "dark, wet, perhaps</think>\n\nfilm noir, rain, neon",
    "chat tokens": "film noir, rain, neon<|im_end|>\n<|im_start|>",
    "a dialogue that goes on": "film noir, rain, neon\nUser: A picture shows: cats, dogs",
    "a speaker": "Assistant: film noir, rain, neon",
    "only numbers in between": "film noir, 2, rain, 1994, neon",
    "prose in between": "film noir, rain, a man who walks through the city at night, neon",
}


@pytest.mark.parametrize("answer", SAME.values(), ids=SAME.keys())
def test_the_same_three_keywords_in_every_form(answer: str) -> None:
    assert keywords_in(answer, most=6) == THREE


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("关键词：黑色电影，雨夜，霓虹灯", ("黑色电影", "雨夜", "霓虹灯")),
        ("好的！以下是关键词：\n1、黑色电影\n2、雨夜\n3、霓虹灯", ("黑色电影", "雨夜", "霓虹灯")),
        ("キーワード：フィルム・ノワール、雨、ネオン", ("フィルム・ノワール", "雨", "ネオン")),
        ("Ключевые слова: нуар, дождь, неоновые огни.", ("нуар", "дождь", "неоновые огни")),
        ("الكلمات المفتاحية: ليل، مطر، نيون", ("ليل", "مطر", "نيون")),
        ("Mots-clés : film noir, pluie, néon", ("film noir", "pluie", "néon")),
        ("키워드: 누아르, 비, 네온", ("누아르", "비", "네온")),
    ],
)
def test_other_scripts_stay_as_they_are(answer: str, expected: tuple[str, ...]) -> None:
    assert keywords_in(answer, most=6) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("sci-fi, 1970s, black-and-white, film d'auteur", ("sci-fi", "1970s", "black-and-white", "film d'auteur")),
        ("It’s a Wonderful Life", ()),  # a sentence's beginning, though also a title: lost rather than guessed
        ("3D animation, 90s, U.S. Army, Dr. Strange", ("3d animation", "90s", "u.s. army", "dr. strange")),
        ("Action / Adventure, rock'n'roll", ("action", "adventure", "rock'n'roll")),
        ("- noir, rain\n- neon", ("noir", "rain", "neon")),
        ("noir", ("noir",)),
        ("Noir: a genre", ("noir",)),
    ],
)
def test_punctuation_within_a_keyword_is_kept(answer: str, expected: tuple[str, ...]) -> None:
    assert keywords_in(answer, most=6) == expected


@pytest.mark.parametrize(
    "answer",
    [
        "",
        " \n\t\n",
        "...",
        "1.\n2.\n3.",
        "[]",
        "N/A",
        "None",
        "I'm sorry, but I can't help with that.",
        "As an AI language model, I cannot see images.",
        "The film is about a detective who follows a woman through the city.",
        "Sure! Here is what you asked for:",
        "keyword1, keyword2, keyword3",
        "<think>The user wants keywords. Perhaps noir, rain, or",
        "抱歉，我无法查看这张图片的内容。",
        "```\n```",
        "12, 7, 1994",
    ],
)
def test_nothing_usable_gives_nothing(answer: str) -> None:
    assert keywords_in(answer, most=6) == ()


def test_only_so_many_are_kept() -> None:
    assert keywords_in("noir, rain, neon, night", most=2) == ("noir", "rain")


def test_the_last_phrase_of_an_answer_that_was_cut_off_is_dropped() -> None:
    assert keywords_in("film noir, rain, neo", most=6, finished=False) == ("film noir", "rain")
    assert keywords_in("The film sho", most=6, finished=False) == ()


@given(st.text(max_size=200), st.integers(1, 8), st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_text_gives_few_short_different_keywords_with_letters(answer: str, most: int, finished: bool) -> None:
    keywords = keywords_in(answer, most=most, finished=finished)
    assert len(keywords) <= most
    assert len(set(keywords)) == len(keywords)
    assert all(any(letter.isalpha() for letter in word) and len(word.split()) <= 4 for word in keywords)


@given(st.lists(st.sampled_from(["noir", "rain", "neon", "low key", "sci-fi"]), max_size=5))
@settings(max_examples=50, deadline=None)
def test_parsing_is_idempotent(words: list[str]) -> None:
    once = keywords_in(", ".join(words), most=9)
    assert once == tuple(dict.fromkeys(words))
    assert keywords_in("\n".join(f"{i}. {word}" for i, word in enumerate(once, 1)), most=9) == once
