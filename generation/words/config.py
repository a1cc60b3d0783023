"""The section ``words`` of the config: which models caption items and name keywords, and with which prompts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from generation.encoders.dual import OpenClipEncoder
from generation.encoders.encoder import TextEncoder
from generation.encoders.sentences import SentenceEncoder
from generation.settings import INCIDENTAL
from generation.words.blip import Blip2Captioner
from generation.words.captions import Captioner, PaletteCaptioner, TextCaptioner
from generation.words.instruction import InstructionModel
from generation.words.keywords import KeywordExtractor, LlmKeywords, TfidfKeywords, content_words, split_phrases
from generation.words.prompts import KEYWORDS, PREFERENCE, keyword_prompt, preference_prompt


@dataclass(frozen=True)
class CaptionsConfig:
    """What captions are made by (eq. 2)."""

    captions: Literal["palette", "text", "blip2"] = "palette"
    """``palette``: tags, decade and names of colours; ``text``: the item's own text; ``blip2``: BLIP-2's captions."""
    captioner_model: str = field(default="Salesforce/blip2-opt-2.7b", metadata=INCIDENTAL)
    """BLIP-2's folder or hub name, for ``captions: blip2``."""
    batch_size: int = field(default=8, metadata=INCIDENTAL)
    """Pictures, prompts or captions at a time."""

    def captioner(self, *, progress: bool = False) -> Captioner:
        """The captioner of the catalogue's pictures.

        Raises:
            FileNotFoundError: BLIP-2's weights are missing.
        """
        if self.captions == "blip2":
            return Blip2Captioner.from_pretrained(
                self.captioner_model, batch_size=self.batch_size, progress=progress, **_device_and_dtype()
            )
        return PaletteCaptioner() if self.captions == "palette" else TextCaptioner()


@dataclass(frozen=True)
class KeywordsConfig(CaptionsConfig):
    """What keywords are made by (eq. 6)."""

    keywords: Literal["tfidf", "llm"] = "tfidf"
    """``tfidf``: the caption's rarest words; ``llm``: named by an instruction LLM."""
    keyword_model: str = field(default="Qwen/Qwen2.5-0.5B-Instruct", metadata=INCIDENTAL)
    """The instruction LLM's folder or hub name, for ``keywords: llm``."""
    per_item: int = 6
    """Most keywords of an item (of all the retrieved items', the ``generator.n_keywords`` most frequent are used)."""
    keyword_prompt: str | None = field(default=None, metadata=INCIDENTAL)
    """A text file with p_k, for ``keywords: llm``: ``{caption}``, and optionally ``{text}`` and ``{n}``."""

    def p_k(self) -> str:
        """The prompt by which the instruction LLM is asked for keywords (eq. 6)."""
        return keyword_prompt(KEYWORDS if self.keyword_prompt is None else Path(self.keyword_prompt))

    def extractor(self, *, progress: bool = False) -> KeywordExtractor:
        """The extractor of items' keywords.

        Raises:
            FileNotFoundError: the LLM's weights are missing.
            ValueError: its tokenizer has no chat template.
        """
        if self.keywords == "llm":
            model = InstructionModel.from_pretrained(
                self.keyword_model, batch_size=self.batch_size, progress=progress, **_device_and_dtype()
            )
            return LlmKeywords(model, self.per_item, self.p_k())
        # The palette's captions are lists of phrases, the others are sentences.
        return TfidfKeywords(self.per_item, split_phrases if self.captions == "palette" else content_words)


@dataclass(frozen=True)
class WordsConfig(KeywordsConfig):
    """Captions (eq. 2), keywords (eq. 6) and prompts (eq. 6-7); the defaults need no model hub."""

    prompt: str | None = field(default=None, metadata=INCIDENTAL)
    """A text file with p_g: ``{caption}`` and ``{keywords}`` or ``{weighted_keywords}``."""
    semantic: Literal["dual", "sentences"] = "dual"
    """Encoder by whose cosines retrieval compares captions: the dual encoder, or sentence-transformers (an extra)."""
    sentence_model: str = field(default="sentence-transformers/all-MiniLM-L6-v2", metadata=INCIDENTAL)
    """Its folder or hub name, for ``semantic: sentences``."""

    def conflicts(self) -> Iterator[str]:
        """Prompts that cannot be filled in, and sizes below one."""
        if self.keyword_prompt is not None and self.keywords != "llm":
            yield f"keyword_prompt {self.keyword_prompt} is read by keywords llm alone, not by {self.keywords}"
        prompts: list[Callable[[], str]] = [self.p_k, self.p_g]
        for read in prompts:
            try:
                read()
            except (OSError, ValueError) as error:
                yield str(error)
        for name in ("per_item", "batch_size"):
            if getattr(self, name) < 1:
                yield f"{name} must be at least 1, got {getattr(self, name)}"

    def p_g(self) -> str:
        """The prompt that the generator's language model reads (eq. 7)."""
        return preference_prompt(PREFERENCE if self.prompt is None else Path(self.prompt))

    def text_encoder(self, dual: OpenClipEncoder) -> TextEncoder:
        """The encoder by whose cosines retrieval compares captions.

        Raises:
            ImportError: sentence-transformers is not installed.
            FileNotFoundError: its model is missing.
        """
        if self.semantic == "dual":
            return dual
        device = _device_and_dtype()["device"]
        return SentenceEncoder.from_pretrained(self.sentence_model, batch_size=self.batch_size, device=device)


def _device_and_dtype() -> dict[str, Any]:
    """The GPU in bfloat16 where there is one, otherwise the CPU in float32."""
    gpu = torch.cuda.is_available()
    return {"device": "cuda" if gpu else "cpu", "dtype": torch.bfloat16 if gpu else torch.float32}
