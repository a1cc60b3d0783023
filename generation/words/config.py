"""The section ``words`` of the config: which models caption items and name keywords, and with which prompts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from generation.encoders.packaged import minilm_folder
from generation.settings import INCIDENTAL
from generation.words.prompts import KEYWORDS, PREFERENCE, keyword_prompt, preference_prompt

HUB_MINILM = "sentence-transformers/all-MiniLM-L6-v2"
"""The sentence encoder's name on the hub."""


@dataclass(frozen=True)
class CaptionsConfig:
    """What captions are made by (eq. 2)."""

    captions: Literal["palette", "text", "blip2"] = "palette"
    """``palette``: tags, decade and names of colours; ``text``: the item's own text; ``blip2``: BLIP-2's captions."""
    captioner_model: str = field(default="Salesforce/blip2-opt-2.7b", metadata=INCIDENTAL)
    """BLIP-2's folder or hub name, for ``captions: blip2``."""
    batch_size: int = field(default=8, metadata=INCIDENTAL)
    """Pictures, prompts or captions at a time."""


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


@dataclass(frozen=True)
class WordsConfig(KeywordsConfig):
    """Captions (eq. 2), keywords (eq. 6) and prompts (eq. 6-7); the defaults need no model hub."""

    prompt: str | None = field(default=None, metadata=INCIDENTAL)
    """A text file with p_g: ``{caption}`` and ``{keywords}`` or ``{weighted_keywords}``."""
    semantic: Literal["dual", "sentences"] = "dual"
    """Encoder by whose cosines retrieval compares captions: the dual encoder, or sentence-transformers (an extra)."""
    sentence_model: str | None = field(default=None, metadata=INCIDENTAL)
    """Its folder or hub name, for ``semantic: sentences``; by default all-MiniLM-L6-v2, of the extra ``encoders`` where
    that is installed, else from the hub."""

    @property
    def sentence_source(self) -> str:
        """What ``semantic: sentences`` reads: a folder or hub name."""
        try:
            return self.sentence_model or str(minilm_folder())
        except ImportError:
            return HUB_MINILM

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
