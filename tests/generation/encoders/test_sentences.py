"""sentence-transformers, which the extra `test` installs; an error message where it is missing."""

import sys
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizer

from generation.encoders.sentences import SentenceEncoder


def test_without_the_package_the_sentence_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ImportError, match=r"not installed: pip install 'ragar-rec\[sentences\]'"):
        SentenceEncoder.from_pretrained("anything")


def test_captions_are_unit_vectors_of_the_model(tmp_path: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "blue", "circle", "bar"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    BertTokenizer.from_pretrained(str(tmp_path)).save_pretrained(tmp_path / "bert")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    BertModel(config).save_pretrained(tmp_path / "bert")
    encoder = SentenceEncoder.from_pretrained(tmp_path / "bert")  # a plain BERT: sentence-transformers adds the mean
    both = encoder.encode_texts(["red circle", "blue bar"])
    assert both.shape == (2, 16)
    torch.testing.assert_close(both.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(encoder.encode_texts(["blue bar"])[0], both[1], atol=1e-5, rtol=0)
    assert encoder.encode_texts([]).shape == (0, 16)
