"""The door to tokenizers: a byte-level BPE learned from a catalogue's own words."""

import json
from collections.abc import Iterable, Sequence

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

# CLIP's own splitting of a text into words, with the English contractions first.
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def train_bpe(
    texts: Iterable[str], *, vocab_size: int, special: Sequence[str], word_end: str = "", lowercase: bool = False
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Learn vocabulary and merges of a byte-level BPE; the special tokens take the first ids, in their order.

    Any text can be encoded: all 256 bytes follow them, with ``word_end`` also as the ends of words. Deterministic in
    ``texts``.
    """
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix=word_end, continuing_subword_prefix=""))
    steps = [normalizers.NFC()] + ([normalizers.Lowercase()] if lowercase else [])
    tokenizer.normalizer = normalizers.Sequence(steps)
    # Removed is what lies between the matches (invert=True): the white space, which a mark at the ends of words makes
    # redundant. Without that mark a word begins with its space, and the byte-level step splits by itself (use_regex).
    split = pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not word_end)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level]) if word_end else byte_level
    # The ends of words are given as special tokens: the trainer would number those it meets in the order of a hash.
    ends = [byte + word_end for byte in sorted(pre_tokenizers.ByteLevel.alphabet())] if word_end else []
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[*special, *ends],
        end_of_word_suffix=word_end,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    # tokenizers has no access to the merges but through its JSON.
    state = json.loads(tokenizer.to_str())["model"]
    return dict(state["vocab"]), [tuple(pair) for pair in state["merges"]]
