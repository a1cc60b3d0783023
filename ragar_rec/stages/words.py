"""Captions and keywords of a catalogue's items: by rule, or by a large model whose answers are a stage."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from generation.gallery import caption
from generation.words.blip import PIXELS
from generation.words.config import CaptionsConfig, KeywordsConfig, WordsConfig
from generation.words.keywords import KeywordExtractor
from generation.words.models import captioner, keyword_extractor
from ragar_rec.config.schema import narrowed
from ragar_rec.stages.catalogue import Catalogue, Pictures
from ragar_rec.stages.stage import Keyed, Stage
from ragar_rec.stages.weights import Weights
from ragar_rec.store.hashing import digest
from ragar_rec.store.store import content

BLOCK = 256
"""Items whose pictures are decoded for BLIP-2 at a time."""


@dataclass(frozen=True, eq=False)
class Captions(Keyed):
    """What each item's picture shows (``cap_i`` of eq. 2), by a rule of ``words.captions``."""

    catalogue: Catalogue
    pictures: Pictures
    words: CaptionsConfig

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """A caption for each item, in the catalogue's order."""
        return caption(self.pictures.items, self.pictures.images, captioner(self.words))


@dataclass(frozen=True, eq=False)
class BlipCaptions(Stage):
    """BLIP-2's captions, from the pictures' own files: those of the generator's size are too small to read."""

    name: ClassVar[str] = "captions"
    catalogue: Catalogue
    pictures: Pictures
    weights: Weights
    words: CaptionsConfig

    @property
    def key(self) -> dict[str, Any]:
        """Also the pictures' files, which BLIP-2 sees."""
        return super().key | self.pictures.file_key

    @cached_property
    def content(self) -> str:
        """Hash of the captions and of the catalogue, whose texts count wherever captions do."""
        return digest([content(self.folder), self.catalogue.content])

    def build(self, to: Path) -> None:
        model, texts = captioner(self.words, progress=self.workspace.progress), []
        items = self.pictures.items
        for start in range(0, len(items), BLOCK):
            block = items[start : start + BLOCK]
            images = self.pictures.read(range(start, start + len(block)), PIXELS)
            texts += caption(block, images, model)
        _write(to / "captions.json", texts)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """A caption for each item, in the catalogue's order."""
        return tuple(json.loads((self.folder / "captions.json").read_text(encoding="utf-8")))


@dataclass(frozen=True, eq=False)
class Keywords(Keyed):
    """Each item's keywords (eq. 6) by TF-IDF over the captions."""

    captions: Captions | BlipCaptions
    words: KeywordsConfig

    @property
    def extractor(self) -> KeywordExtractor:
        """Items and captions to keywords."""
        return keyword_extractor(self.words)


@dataclass(frozen=True, eq=False)
class LlmKeywords(Stage):
    """Each item's keywords (eq. 6) as an instruction LLM named them."""

    name: ClassVar[str] = "keywords"
    pictures: Pictures
    captions: Captions | BlipCaptions
    prompt: str
    """p_k."""
    weights: Weights
    words: KeywordsConfig

    @cached_property
    def content(self) -> str:
        """Hash of the keywords and of the captions, which whoever takes the keywords reads through them."""
        return digest([content(self.folder), self.captions.content])

    def build(self, to: Path) -> None:
        extractor = keyword_extractor(self.words, progress=self.workspace.progress)
        _write(to / "keywords.json", extractor(self.pictures.items, self.captions.texts))

    @property
    def extractor(self) -> KeywordExtractor:
        """Gives back what the LLM named."""
        named = json.loads((self.folder / "keywords.json").read_text(encoding="utf-8"))
        return lambda items, captions: [tuple(words) for words in named]


def captions_of(pictures: Pictures, words: WordsConfig) -> Captions | BlipCaptions:
    """The captions that the config asks for."""
    workspace, catalogue, settings = pictures.workspace, pictures.catalogue, narrowed(CaptionsConfig, words)
    if words.captions != "blip2":
        return Captions(workspace, catalogue, pictures, settings)
    weights = Weights(workspace, words.captioner_model)
    return BlipCaptions(workspace, catalogue, pictures, weights, settings)


def keywords_of(pictures: Pictures, captions: Captions | BlipCaptions, words: WordsConfig) -> Keywords | LlmKeywords:
    """The keywords that the config asks for."""
    workspace, settings = pictures.workspace, narrowed(KeywordsConfig, words)
    if words.keywords != "llm":
        return Keywords(workspace, captions, settings)
    weights = Weights(workspace, words.keyword_model)
    return LlmKeywords(workspace, pictures, captions, words.p_k(), weights, settings)


def _write(file: Path, texts: object) -> None:
    file.write_text(json.dumps(texts, ensure_ascii=False, indent=0), encoding="utf-8")
