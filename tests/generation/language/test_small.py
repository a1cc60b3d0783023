"""Language models: read from a folder, and learned from a catalogue."""

from pathlib import Path

import pytest
import torch

from generation.language.config import LanguageConfig
from generation.language.loading import load_language_model
from generation.language.small import train_language_model
from generation.training import Curves
from generation_world import World


def test_a_missing_model_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no language model at .*none .*hf download Qwen/"):
        load_language_model(tmp_path / "none")


def test_training_is_deterministic_and_learns(world: World) -> None:
    config = LanguageConfig(hidden_size=32, layers=1, vocab_size=300, steps=31)
    curves = Curves()
    texts = world.gallery.captions
    model, tokenizer = train_language_model(texts, config, curves=curves, progress=False)
    again, _ = train_language_model(texts, config, curves=Curves(), progress=False)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    losses = [value for _, value in curves.values["language model: next-token loss"]]
    # fresh weights guess among all tokens: log(300) = 5.7 for a full vocabulary
    assert losses[0] == pytest.approx(torch.tensor(len(tokenizer)).log().item(), abs=0.3)
    assert losses[-1] < 0.8 * losses[0]
