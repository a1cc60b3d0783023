"""A small language model for eq. 7, trained on the catalogue's texts."""

from collections.abc import Sequence

import torch
from torch import nn
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase as Tokenizer
from transformers import Qwen2Config, Qwen2ForCausalLM
from transformers.models.qwen2.tokenization_qwen2 import Qwen2Tokenizer

from generation.language.config import LanguageConfig
from generation.tokens import train_bpe
from generation.training import Curves, batches, one_cycle

POSITIONS = 512
"""Most tokens that the model reads, [IMG] tokens included."""
BATCH_SIZE = 32
"""Texts a training step."""
TRAINING_TOKENS = 96
"""Tokens of a text that are trained on; the rest is cut off."""


def train_language_model(
    texts: Sequence[str], config: LanguageConfig, *, curves: Curves, progress: bool = True
) -> tuple[Qwen2ForCausalLM, Tokenizer]:
    """Learn a tokenizer and a next-token model from ``texts``: Qwen2's own classes at a small size."""
    vocab, merges = train_bpe(texts, vocab_size=config.vocab_size, special=["<|endoftext|>"])
    tokenizer = Qwen2Tokenizer(vocab=vocab, merges=merges, model_max_length=POSITIONS)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(config.seed)
    model = _fresh_model(config, vocab_size=len(tokenizer))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    schedule = one_cycle(optimizer, config.steps)
    steps = batches(len(texts), BATCH_SIZE, config.steps, generator)
    bar = tqdm(steps, total=config.steps, desc="language model", unit="step", disable=not progress)
    for step, rows in enumerate(bar):
        indices: list[int] = rows.tolist()
        batch = [texts[i] for i in indices]
        encoded = tokenizer(batch, return_tensors="pt", padding=True, truncation=True, max_length=TRAINING_TOKENS)
        # transformers' loss skips labels of -100.
        labels = encoded.input_ids.masked_fill(encoded.attention_mask == 0, -100)
        loss = model(input_ids=encoded.input_ids, attention_mask=encoded.attention_mask, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 10 == 0:
            curves.add("language model: next-token loss", step, loss.item())
    return model.eval(), tokenizer


def _fresh_model(config: LanguageConfig, *, vocab_size: int) -> Qwen2ForCausalLM:
    """The untrained model. Token 0 is the only special one: begin, end and padding."""
    settings = Qwen2Config(
        vocab_size=vocab_size,
        hidden_size=config.hidden_size,
        intermediate_size=2 * config.hidden_size,
        num_hidden_layers=config.layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=POSITIONS,
        eos_token_id=0,
        pad_token_id=0,
        bos_token_id=0,
    )
    # transformers initialises weights from torch's global generator: seed it here, and leave it as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return Qwen2ForCausalLM(settings)
