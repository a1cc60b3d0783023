"""The captioner, the keyword extractor and the encoder of captions that the section ``words`` of the config chooses."""

from typing import Any

import torch

from generation.encoders.dual import OpenClipEncoder
from generation.encoders.encoder import TextEncoder
from generation.encoders.sentences import SentenceEncoder
from generation.words.blip import Blip2Captioner
from generation.words.captions import Captioner, PaletteCaptioner, TextCaptioner
from generation.words.config import CaptionsConfig, KeywordsConfig, WordsConfig
from generation.words.instruction import InstructionModel
from generation.words.keywords import KeywordExtractor, LlmKeywords, TfidfKeywords, content_words, split_phrases


def captioner(config: CaptionsConfig, *, progress: bool = False) -> Captioner:
    """The captioner of the catalogue's pictures.

    Raises:
        FileNotFoundError: BLIP-2's weights are missing.
    """
    if config.captions == "blip2":
        return Blip2Captioner.from_pretrained(
            config.captioner_model, batch_size=config.batch_size, progress=progress, **_device_and_dtype()
        )
    return PaletteCaptioner() if config.captions == "palette" else TextCaptioner()


def keyword_extractor(config: KeywordsConfig, *, progress: bool = False) -> KeywordExtractor:
    """The extractor of items' keywords.

    Raises:
        FileNotFoundError: the LLM's weights are missing.
        ValueError: its tokenizer has no chat template.
    """
    if config.keywords == "llm":
        model = InstructionModel.from_pretrained(
            config.keyword_model, batch_size=config.batch_size, progress=progress, **_device_and_dtype()
        )
        return LlmKeywords(model, config.per_item, config.p_k())
    # The palette's captions are lists of phrases, the others are sentences.
    return TfidfKeywords(config.per_item, split_phrases if config.captions == "palette" else content_words)


def caption_encoder(config: WordsConfig, dual: OpenClipEncoder) -> TextEncoder:
    """The encoder by whose cosines retrieval compares captions; ``dual`` is the generator's own.

    Raises:
        ImportError: sentence-transformers is not installed.
        FileNotFoundError: its model is missing.
    """
    if config.semantic == "dual":
        return dual
    device = _device_and_dtype()["device"]
    return SentenceEncoder.from_pretrained(config.sentence_source, batch_size=config.batch_size, device=device)


def _device_and_dtype() -> dict[str, Any]:
    """The GPU in bfloat16 where there is one, otherwise the CPU in float32."""
    gpu = torch.cuda.is_available()
    return {"device": "cuda" if gpu else "cpu", "dtype": torch.bfloat16 if gpu else torch.float32}
