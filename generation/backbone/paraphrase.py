"""Captions in other words, and their states: the condition that a UNet is trained on."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

EMPTY_CAPTIONS = 0.1
"""Share of captions that are left out, for classifier-free guidance (Ho & Salimans 2022)."""


def shuffle_words(caption: str, generator: torch.Generator, keep: float = 0.8) -> str:
    """A paraphrase: the caption's comma-separated phrases in another order, each kept with probability ``keep``."""
    phrases = [phrase.strip() for phrase in caption.replace(" in ", ", ").split(",") if phrase.strip()]
    order = torch.randperm(len(phrases), generator=generator).tolist()
    shuffled = [phrases[i] for i in order if torch.rand((), generator=generator) < keep]
    # An empty text is guidance's unconditional prompt: a caption that lost every phrase keeps its first.
    return ", ".join(shuffled or phrases[:1])


def condition(
    captions: Sequence[str], text_encoder: nn.Module, tokenizer: Callable, generator: torch.Generator
) -> Float[Tensor, "n rows width"]:
    """Text states of paraphrased captions; 10 % are empty (for guidance).

    Half of the batches have two paraphrases one after the other, because a personalised preference is longer than a
    caption.
    """

    def encode_paraphrases() -> Tensor:
        texts = [
            "" if drop else shuffle_words(caption, generator) for caption, drop in zip(captions, empty, strict=True)
        ]
        ids = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        with torch.no_grad():
            return text_encoder(ids).last_hidden_state

    # Drawn once: guidance needs a condition that is empty as a whole.
    empty = (torch.rand(len(captions), generator=generator) < EMPTY_CAPTIONS).tolist()
    states = encode_paraphrases()
    if torch.rand((), generator=generator) < 0.5:
        return states
    return torch.cat([states, encode_paraphrases()], dim=1)
