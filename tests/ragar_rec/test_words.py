"""The section ``words``: another captioner, keywords or prompt reaches the generator, and runs only what reads it."""

from pathlib import Path
from typing import Any

import pytest

from blip_world import save_captioner
from chat_world import save_chat_model
from film_world import config_file, film_folder, open_run
from generation.pictures import read_pictures
from generation.words.blip import PIXELS
from generation.words.prompts import preference_prompt
from ragar_rec.errors import ConfigError
from ragar_rec.experiment import Experiment
from ragar_rec.stages.words import BlipCaptions, Captions, Keywords, LlmKeywords
from ragar_rec.store.store import content

FIRST = "Comedy, Adventure, 1950s in yellow, magenta"
"""What the palette says of film 1: ground (230, 190, 40), ellipse (255, 0, 128)."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    film_folder(folder / "raw")
    return folder


def opened(home: Path, **words: Any) -> Experiment:
    """A run in the shared store, with these keys of the section."""
    return open_run(config_file(home, words=words), home / "raw", home / "output")


def changed(before: dict[str, Any], run: Experiment) -> set[str]:
    """Names of the components whose content is another."""
    return {name for name, value in run.components.key.items() if before[name] != value}


def keywords_folder(run: Experiment) -> Path:
    """Where an LLM's keywords stand."""
    assert isinstance(run.components.keywords, LlmKeywords)
    return run.components.keywords.folder


def test_every_choice_is_part_of_the_keys_and_so_is_the_packages_own_template(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = opened(home)
    before = run.components.key
    keywords = run.components.keywords
    assert isinstance(keywords, Keywords)
    assert isinstance(keywords.captions, Captions)
    assert (keywords.captions.words.captions, keywords.words.per_item) == ("palette", 6)
    assert (before["prompt"], before["sentences"]) == (preference_prompt(), None)
    assert run.components.new_generator(run.config.generator).template == preference_prompt()
    assert run.components.keywords.captions.texts[0] == FIRST
    (tmp_path / "preference.txt").write_text("{keywords} as in {caption}")
    monkeypatch.setattr("generation.words.config.PREFERENCE", tmp_path / "preference.txt")
    assert changed(before, opened(home)) == {"prompt"}


def test_captions_of_the_items_own_text_are_another_encoder(home: Path) -> None:
    run = opened(home, captions="text")
    assert run.components.keywords.captions.texts[0] == "Story 1 (1950). Comedy, Adventure"
    assert run.encoder.weights.path != opened(home).encoder.weights.path


def test_keywords_by_an_llm_are_asked_for_once_and_reach_the_gallery(home: Path, tmp_path: Path) -> None:
    (tmp_path / "p_k.txt").write_text("{caption}")
    llm = save_chat_model(tmp_path / "llm", {FIRST: "1. Laughter\n2. Gold"}, steps=40)
    words = {"keywords": "llm", "keyword_model": str(llm), "keyword_prompt": str(tmp_path / "p_k.txt")}
    run = opened(home, **words)
    assert run.components.gallery.keywords[0] == ("laughter", "gold")
    assert len(run.components.gallery.keywords) == 24
    assert "keywords" in run.store.ran
    again = opened(home, **words)
    assert again.components.gallery.keywords == run.components.gallery.keywords
    assert "keywords" in again.store.reused
    assert again.components.content == run.components.content
    keywords, text = run.components.keywords, opened(home, **words, captions="text").components.keywords
    assert isinstance(keywords, LlmKeywords)
    vars(text)["folder"] = keywords.folder  # as if the LLM had named the same words for other captions
    assert text.content != keywords.content
    (tmp_path / "p_k.txt").write_text("{caption} ")  # blank space around it is no part of the prompt
    assert keywords_folder(opened(home, **words)) == keywords_folder(run)
    (tmp_path / "p_k.txt").write_text("{caption}!")
    assert keywords_folder(opened(home, **words)) != keywords_folder(run)


def test_a_prompt_of_the_users_own_is_what_the_generator_reads(home: Path, tmp_path: Path) -> None:
    (tmp_path / "p_g.txt").write_text("{caption} for a lover of {keywords}")
    run = opened(home, prompt=str(tmp_path / "p_g.txt"))
    assert (
        run.components.new_generator(run.config.generator).prompt(("gold",), "a film") == "a film for a lover of gold"
    )
    before = run.components.key
    assert changed(before, opened(home)) == {"prompt"}
    (tmp_path / "p_g.txt").write_text("{caption} for a friend of {keywords}")
    assert opened(home, prompt=str(tmp_path / "p_g.txt")).components.key["prompt"] != before["prompt"]


def test_blip2_looks_at_the_pictures_own_files_once_and_its_words_reach_all_that_learns_from_them(
    home: Path, tmp_path: Path
) -> None:
    catalogue = opened(home).pictures.items[:2]
    pictures = read_pictures(catalogue, PIXELS)
    said = ["a yellow film", "sand and heat"]
    words = {"captions": "blip2", "captioner_model": str(save_captioner(tmp_path / "blip", pictures, said))}
    run = opened(home, **words)
    assert list(run.components.keywords.captions.texts[:2]) == said
    assert len(run.components.keywords.captions.texts) == 24
    assert run.components.keywords.captions.texts[23] == "Drama, Adventure, 2010s"  # no poster
    again = opened(home, **words)
    assert again.components.keywords.captions.texts == run.components.keywords.captions.texts
    assert "captions" in run.store.ran
    assert "captions" in again.store.reused
    assert isinstance(run.components.keywords.captions, BlipCaptions)
    assert run.encoder.weights.path != opened(home).encoder.weights.path
    assert run.components.gallery.keywords[1] == ("heat", "sand")  # the words of a sentence, without "and"


def test_missing_weights_of_blip2_say_how_to_get_them(home: Path) -> None:
    run = opened(home, captions="blip2", captioner_model="weights/none")
    with pytest.raises(FileNotFoundError, match=r"no BLIP-2 captioner at weights/none .*hf download Salesforce/"):
        _ = run.components.keywords.captions.texts


def test_fewer_keywords_an_item_are_another_generator(home: Path) -> None:
    run = opened(home, per_item=2)
    assert max(map(len, run.components.gallery.keywords)) == 2
    usual = opened(home)
    assert changed(run.components.key, usual) == {"keywords", "words"}
    # The warm start reads captions alone and ends at the same weights; the reward phase reads keywords.
    assert content(run.ragar.warm.folder) == content(usual.ragar.warm.folder)
    assert run.ragar.folder != usual.ragar.folder


def test_prompts_that_cannot_be_filled_in_are_refused_when_the_config_is_read(home: Path, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("{caption}")
    with pytest.raises(ConfigError) as caught:
        opened(
            home, prompt=str(tmp_path / "p.txt"), keyword_prompt=str(tmp_path / "none.txt"), per_item=0, batch_size=0
        )
    found = "\n".join(caught.value.problems)
    for part in (
        "p.txt lacks {keywords}",
        "no prompt file at",
        "is read by keywords llm alone, not by tfidf",
        "per_item must be at least 1, got 0",
        "batch_size must be at least 1, got 0",
    ):
        assert part in found
