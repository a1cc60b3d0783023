"""A BLIP-2 that is as small as its classes allow, overfitted to captions of a few pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
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

from generation.tokens import train_bpe

QUERIES = 4


def tiny(processor: Blip2Processor) -> Blip2ForConditionalGeneration:
    """BLIP-2's own parts: vision tower, Q-Former and OPT, each of one layer."""
    tokenizer: Any = processor.tokenizer
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Blip2ForConditionalGeneration(
            Blip2Config(
                vision_config=Blip2VisionConfig(
                    hidden_size=32,
                    intermediate_size=64,
                    num_hidden_layers=1,
                    num_attention_heads=2,
                    image_size=28,
                    patch_size=14,
                    initializer_range=0.02,
                ),
                qformer_config=Blip2QFormerConfig(
                    vocab_size=len(tokenizer),
                    hidden_size=32,
                    num_hidden_layers=1,
                    num_attention_heads=2,
                    intermediate_size=64,
                    encoder_hidden_size=32,
                    cross_attention_frequency=1,
                ),
                text_config=OPTConfig(
                    vocab_size=len(tokenizer),
                    hidden_size=32,
                    ffn_dim=64,
                    num_hidden_layers=1,
                    num_attention_heads=2,
                    max_position_embeddings=64,
                    word_embed_proj_dim=32,
                    pad_token_id=0,
                    bos_token_id=0,
                    eos_token_id=0,
                ),
                num_query_tokens=QUERIES,
                image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
            )
        )


def save_captioner(folder: Path, pictures: Tensor, captions: Sequence[str]) -> Path:
    """Train until each picture gives its caption, and save the model."""
    vocab, merges = train_bpe(list(captions) * 3, vocab_size=300, special=["</s>"])
    tokenizer = Qwen2Tokenizer(vocab=vocab, merges=merges, eos_token="</s>", pad_token="</s>")  # type: ignore[arg-type]
    processor = Blip2Processor(BlipImageProcessor(size={"height": 28, "width": 28}), tokenizer, QUERIES)
    model = tiny(processor).eval()  # no dropout while it learns
    prefix = "<image>" * QUERIES + "</s>"
    batch = tokenizer([prefix + caption + "</s>" for caption in captions], return_tensors="pt", padding=True)
    labels = batch.input_ids.masked_fill(batch.attention_mask == 0, -100)
    labels[:, : QUERIES + 1] = -100  # the places of the picture and the beginning carry no loss
    pixels = processor.image_processor(images=list(pictures), return_tensors="pt").pixel_values
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(50):
        loss = model(pixel_values=pixels, labels=labels, **batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
