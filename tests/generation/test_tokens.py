"""A learned byte-level BPE: any text is decoded to itself."""

import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers
from transformers.models.qwen2.tokenization_qwen2 import Qwen2Tokenizer

from generation.encoders.tokenizer import train_clip_tokenizer
from generation.tokens import train_bpe

TEXTS = ["red circle", "red square", "blue circle", "blue bar"] * 5
END = "<|endoftext|>"
BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())


def test_special_tokens_come_first_and_every_byte_is_there() -> None:
    vocab, merges = train_bpe(TEXTS, vocab_size=280, special=["<s>", END])
    assert (vocab["<s>"], vocab[END]) == (0, 1)
    assert len(BYTES) == 256
    assert all(byte in vocab for byte in BYTES)
    # red, blue, Gcircle, Gsquare, Gbar (G: the space) have 2 + 3 + 6 + 6 + 3 joints; two of them are one, "re"
    assert len(merges) == 19
    assert sorted(vocab.values()) == list(range(2 + 256 + 19))


def test_with_a_word_end_every_byte_can_also_end_a_word() -> None:
    vocab, _ = train_bpe(TEXTS, vocab_size=600, special=[END], word_end="</w>", lowercase=True)
    assert all(byte + "</w>" in vocab for byte in BYTES)
    assert sorted(vocab.values()) == list(range(len(vocab)))


def test_frequent_words_become_one_token() -> None:
    tokenizer = train_clip_tokenizer(TEXTS, vocab_size=700, max_length=8)
    begin, end = 0, 1
    ids = tokenizer("Red circle").input_ids
    assert (ids[0], ids[-1], len(ids)) == (begin, end, 4)
    assert str(tokenizer.decode(ids[1:-1])).strip() == "red circle"
    assert tokenizer("red", padding="max_length").input_ids[2:] == [end] * 6


def test_training_is_deterministic() -> None:
    trained = [train_bpe(TEXTS, vocab_size=600, special=[END], word_end="</w>") for _ in range(5)]
    assert all(other == trained[0] for other in trained[1:])


_vocab, _merges = train_bpe(TEXTS, vocab_size=300, special=[END])
QWEN = Qwen2Tokenizer(vocab=_vocab, merges=_merges, model_max_length=512)  # type: ignore[arg-type]


@given(st.text(max_size=30))
@settings(max_examples=100, deadline=None)
def test_any_text_comes_back(text: str) -> None:
    normal = unicodedata.normalize("NFC", text)
    assert QWEN.decode(QWEN(text).input_ids, clean_up_tokenization_spaces=False) == normal


CLIP = train_clip_tokenizer(TEXTS, vocab_size=600, max_length=64)


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zs", "Zl", "Zp", "Cf")), max_size=12))
@settings(max_examples=100, deadline=None)
def test_clip_knows_every_byte(text: str) -> None:
    ids = CLIP(text, add_special_tokens=False).input_ids
    assert CLIP.unk_token_id not in ids or CLIP.unk_token_id == CLIP.eos_token_id
    # what the ids say, byte for byte: nothing was dropped
    decoded = "".join(CLIP.convert_ids_to_tokens(ids)).replace("</w>", "")
    expected = CLIP.backend_tokenizer.normalizer.normalize_str(text)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    assert decoded == "".join(piece for word in expected.split() for piece, _ in byte_level.pre_tokenize_str(word))
