"""The reference of all keys, and the file that a newcomer begins with."""

import re
from pathlib import Path

import pytest
import yaml

from ragar_rec.config.config import Config, sections
from ragar_rec.config.presets import find_config
from ragar_rec.config.reference import Key, field_sentences, recbole_keys, reference, section_keys, write_starting_file
from ragar_rec.config.schema import field_types
from ragar_rec.config.sections import EvaluationConfig


def test_a_key_has_its_default_its_range_and_its_sentence() -> None:
    keys = {key.name: key for key in section_keys("evaluation")}
    assert keys["evaluation.candidates"] == Key(
        "evaluation.candidates", "10", "an integer, at least 1", "C, items regenerated per user under candidates."
    )
    assert keys["evaluation.protocols"].default == "[reference, candidates]"
    assert keys["evaluation.protocols"].accepts == "a list, each one of reference, candidates, catalogue"
    text = keys["evaluation.candidates"].text()
    assert text == (
        "  evaluation.candidates: 10\n      C, items regenerated per user under candidates. (an integer, at least 1)"
    )


def test_sentences_of_base_classes_are_found() -> None:
    sentences = field_sentences(EvaluationConfig)
    assert list(sentences) == list(field_types(EvaluationConfig))
    assert sentences["users"] == "People in the sample; 0 takes all."  # of DrawingConfig, two classes below


def test_every_key_of_every_section_is_listed_with_a_sentence() -> None:
    text = reference()
    for section, kind in sections().items():
        for name in field_types(kind):
            assert f"\n  {section}.{name}: " in text
        assert all(key.sentence.endswith(".") for key in section_keys(section)), section
    assert all(f"\n  {key.name}: " in text for key in recbole_keys())
    assert "``" not in text
    assert max(map(len, text.splitlines())) <= 140  # a default may be longer than the text's 100 columns


def test_a_word_finds_keys_by_name_or_sentence_and_nothing_else() -> None:
    found = re.findall(r"^  ([\w.]+): ", reference("BOOTSTRAP"), flags=re.MULTILINE)
    assert found == ["evaluation.resamples"]
    with pytest.raises(ValueError, match="contains 'nowhere at all'"):
        reference("nowhere at all")


def test_the_starting_file_is_the_preset_own_with_comments(tmp_path: Path) -> None:
    """Read back it is the same config, and each of its live keys stands below a comment."""
    file = tmp_path / "shop.yaml"
    write_starting_file(file)
    assert Config.read(file) == Config.read("own")
    text = file.read_text(encoding="utf-8")
    assert yaml.safe_load(text) == yaml.safe_load(find_config("own").read_text(encoding="utf-8"))
    assert "\n  #whiten: false\n" in text
    lines = text.splitlines()
    for line, above in zip(lines[1:], lines, strict=False):
        if re.match(r" *[\w]+:", line):
            assert above.strip().startswith("#"), line


def test_the_starting_file_overwrites_nothing(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text("mine")
    with pytest.raises(FileExistsError, match=r"shop\.yaml exists and is left as it is"):
        write_starting_file(file)
    assert file.read_text() == "mine"
