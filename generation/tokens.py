"""The door to tokenizers: a byte-level BPE learned from a catalogue's own words."""

import json
from collections.abc import Iterable, Sequence

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def train_bpe(
    texts: Iterable[str], *, vocab_size: int, special: Sequence[str], word_end: str = "", lowercase: bool = False
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges of a byte-level BPE; the special tokens take the first ids, in their order.

    Any text can be encoded: the vocabulary begins with all 256 bytes. Deterministic in ``texts``.
    """
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix=word_end or None, continuing_subword_prefix=""))
    steps = [normalizers.NFC()] + ([normalizers.Lowercase()] if lowercase else [])
    tokenizer.normalizer = normalizers.Sequence(steps)
    split = pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not word_end)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level]) if word_end else byte_level
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=list(special), end_of_word_suffix=word_end or None,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    state = json.loads(tokenizer.to_str())["model"]
    vocab = {token: index for token, index in state["vocab"].items()}
    if word_end:  # every byte must also be able to end a word
        for byte in sorted(pre_tokenizers.ByteLevel.alphabet()):
            vocab.setdefault(byte + word_end, len(vocab))
    return vocab, [tuple(pair) for pair in state["merges"]]
