"""Prompts: files whose fields are checked before anything is trained."""

from pathlib import Path

import pytest

from generation.words.prompts import KEYWORDS, PREFERENCE, keyword_prompt, preference_prompt, read_prompt


def test_the_prompts_that_come_with_the_package() -> None:
    assert preference_prompt() == (
        "A person looks for pictures with: {keywords}. Show the following in a way that this person prefers: {caption}."
    )
    filled = keyword_prompt().format(caption="a red car", text="Cars (2006)", n=6)
    assert "a red car" in filled
    assert "at most 6 keywords" in filled
    assert PREFERENCE.suffix == KEYWORDS.suffix == ".txt"


def test_a_file_of_the_users_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("\n像 {keywords} 的 {{{caption}}}\n\n", encoding="utf-8")
    assert preference_prompt(file).format(keywords="雨", caption="car {x}") == "像 雨 的 {car {x}}"


@pytest.mark.parametrize("fields", ["{weighted_keywords}", "{keywords}, {weighted_keywords}"])
def test_weighted_keywords_stand_beside_or_for_the_plain_ones(tmp_path: Path, fields: str) -> None:
    (tmp_path / "mine.txt").write_text(f"{fields}: {{caption}}")
    assert preference_prompt(tmp_path / "mine.txt") == f"{fields}: {{caption}}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{caption}", r"lacks \{keywords\} or \{weighted_keywords\}$"),
        ("", r"lacks \{keywords\} or \{weighted_keywords\}, \{caption\}$"),
        ("{{keywords}} {caption}", r"lacks \{keywords\} or \{weighted_keywords\}$"),
        (
            "{keywords} {caption} {title}",
            r"unknown field \{title\}: only \{keywords\}, \{weighted_keywords\}, \{caption\} can",
        ),
        ("{keywords} {caption} {}", r"unknown field \{\}"),
        ("{keywords} {caption} {caption.x}", r"unknown field \{caption.x\}"),
        ("{keywords} {caption} }", r"lone brace .*write \{\{"),
        ("{keywords} {caption} {", r"lone brace"),
        ("{keywords:>5000} {caption}", r"field \{keywords:>5000\}.*by its bare name"),
        ("{keywords!r} {caption}", r"field \{keywords!r\}"),
    ],
)
def test_a_mistake_in_a_prompt_is_reported_with_its_file(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "mine.txt"
    file.write_text(text)
    with pytest.raises(ValueError, match=words) as caught:
        preference_prompt(file)
    assert str(file) in str(caught.value)


def test_a_missing_prompt_and_one_that_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no prompt file at .*none\.txt"):
        keyword_prompt(tmp_path / "none.txt")
    (tmp_path / "picture.txt").write_bytes(b"ok \xff\xfe")
    with pytest.raises(ValueError, match=r"picture\.txt is no UTF-8 text: .* at byte 3"):
        read_prompt(tmp_path / "picture.txt", needed=())
