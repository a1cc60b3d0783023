"""CLIP's byte-level tokenizer, learned from a catalogue, and open_clip's way of calling it."""

from collections.abc import Iterable, Sequence

from jaxtyping import Int
from torch import Tensor
from transformers import CLIPTokenizer

from generation.tokens import train_bpe


class BatchTokenizer:
    """Gives a transformers tokenizer open_clip's calling convention: texts in, padded ids out."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        self.tokenizer = tokenizer

    def __call__(self, texts: Sequence[str]) -> Int[Tensor, "n context"]:
        """Token ids, cut off or padded to the context."""
        return self.tokenizer(list(texts), padding="max_length", truncation=True, return_tensors="pt").input_ids


def train_clip_tokenizer(texts: Iterable[str], *, vocab_size: int, max_length: int) -> CLIPTokenizer:
    """Learn a tokenizer of CLIP's kind, byte-level BPE, from ``texts``: id 0 begins a text, id 1 ends and pads it."""
    # The names of the special tokens and the end of a word are those that transformers' CLIPTokenizer expects.
    vocab, merges = train_bpe(
        texts, vocab_size=vocab_size, special=["<|startoftext|>", "<|endoftext|>"], word_end="</w>", lowercase=True
    )
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=max_length)  # type: ignore[arg-type]
