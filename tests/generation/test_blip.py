"""BLIP-2: a tiny one, made from its configuration, that has learned to tell red pictures from blue ones."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    BlipImageProcessor,
    OPTConfig,
)
from transformers.models.qwen2.tokenization_qwen2 import Qwen2Tokenizer

from generation.blip import Blip2Captioner
from generation.gallery import caption
from generation.tokens import train_bpe
from generation_world import Shape

WORDS = {"red": "a red poster", "blue": "blue sea, blue sky", "black": ""}
PICTURES = torch.zeros(3, 3, 48, 32, dtype=torch.uint8)
PICTURES[0, 0] = PICTURES[1, 2] = 255
ITEMS = [Shape(name, tags=("film",), image=Path(f"{name}.png")) for name in WORDS]
QUERIES = 4


def tiny(processor: Blip2Processor) -> Blip2ForConditionalGeneration:
    """BLIP-2's own parts: vision tower, Q-Former and OPT, each of one layer."""
    tokenizer: Any = processor.tokenizer
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Blip2ForConditionalGeneration(
            Blip2Config(
                vision_config=Blip2VisionConfig(
                    hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, image_size=28,
                    patch_size=14, initializer_range=0.02,
                ),
                qformer_config=Blip2QFormerConfig(
                    vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                    intermediate_size=64, encoder_hidden_size=32, cross_attention_frequency=1,
                ),
                text_config=OPTConfig(
                    vocab_size=len(tokenizer), hidden_size=32, ffn_dim=64, num_hidden_layers=1, num_attention_heads=2,
                    max_position_embeddings=64, word_embed_proj_dim=32, pad_token_id=0, bos_token_id=0, eos_token_id=0,
                ),
                num_query_tokens=QUERIES, image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
            )
        )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained until each picture gives its words."""
    vocab, merges = train_bpe(list(WORDS.values()) * 3, vocab_size=300, special=["</s>"])
    tokenizer = Qwen2Tokenizer(vocab=vocab, merges=merges, eos_token="</s>", pad_token="</s>")  # type: ignore[arg-type]
    processor = Blip2Processor(BlipImageProcessor(size={"height": 28, "width": 28}), tokenizer, QUERIES)
    model = tiny(processor).eval()  # no dropout while it learns
    prefix = "<image>" * QUERIES + "</s>"
    batch = tokenizer([prefix + words + "</s>" for words in WORDS.values()], return_tensors="pt", padding=True)
    labels = batch.input_ids.clone()
    labels[:, : QUERIES + 1] = -100
    pixels = processor.image_processor(images=list(PICTURES), return_tensors="pt").pixel_values
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(80):
        loss = model(pixel_values=pixels, labels=labels, **batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    home = tmp_path_factory.mktemp("blip")
    model.save_pretrained(home)
    processor.save_pretrained(home)
    return home


@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_picture_is_said_in_the_words_that_were_learned(folder: Path, batch_size: int) -> None:
    captioner = Blip2Captioner.from_pretrained(folder, batch_size=batch_size)
    order = [1, 0, 2, 0]
    said = captioner([ITEMS[i] for i in order], PICTURES[order])
    assert said == [list(WORDS.values())[i] for i in order]
    assert not captioner.model.training
    assert captioner([], PICTURES[:0]) == []


def test_a_picture_about_which_nothing_is_said_is_described_by_the_items_words(folder: Path) -> None:
    captioner = Blip2Captioner.from_pretrained(folder)
    hole = Shape("hole", "Lost (1999)", ("film",))
    found = caption([*ITEMS, hole], torch.cat([PICTURES, PICTURES[2:]]), captioner)
    assert found == ("a red poster", "blue sea, blue sky", "film", "film, 1990s")


def test_a_model_that_says_nothing_at_all_is_no_captioner(folder: Path) -> None:
    captioner = Blip2Captioner.from_pretrained(folder)
    with pytest.raises(ValueError, match=rf"{folder.name} said nothing about any of 1 pictures"):
        captioner(ITEMS[2:], PICTURES[2:])


def test_missing_weights_say_how_to_get_them(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no BLIP-2 captioner at .*none .*hf download Salesforce/blip2-opt-2"):
        Blip2Captioner.from_pretrained(tmp_path / "none")
    shutil.copytree(folder, tmp_path / "broken")
    (tmp_path / "broken" / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"the folder is incomplete: .*safetensors"):
        Blip2Captioner.from_pretrained(tmp_path / "broken")
