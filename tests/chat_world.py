"""A Qwen2 with a chat template that is as small as the class allows, overfitted to a few answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM
from transformers.models.qwen2.tokenization_qwen2 import Qwen2Tokenizer

from generation.tokens import train_bpe

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def chat(prompt: str) -> str:
    """The prompt as the template writes it."""
    return f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"


def save_chat_model(folder: Path, answers: Mapping[str, str], *, steps: int = 60, positions: int = 512) -> Path:
    """Train until each prompt gives its answer; the saved settings ask for sampling, as Qwen2.5's own do."""
    texts = [chat(prompt) + answer + "<|im_end|>" for prompt, answer in answers.items()]
    vocab, merges = train_bpe(texts * 3, vocab_size=500, special=SPECIAL)
    tokenizer = Qwen2Tokenizer(vocab=vocab, merges=merges, model_max_length=positions)  # type: ignore[arg-type]
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL[1:]})  # type: ignore[dict-item]
    tokenizer.chat_template = TEMPLATE
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Qwen2ForCausalLM(
            Qwen2Config(
                vocab_size=len(tokenizer),
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=positions,
                pad_token_id=0,
                bos_token_id=None,
                eos_token_id=2,
            )
        )
    fine_tune(model, tokenizer, answers, steps)
    model.generation_config.update(do_sample=True, temperature=5.0, top_p=0.9, top_k=20, repetition_penalty=1.5)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def fine_tune(model: Qwen2ForCausalLM, tokenizer: Qwen2Tokenizer, answers: Mapping[str, str], steps: int) -> None:
    """Fine-tune on the answers; the tokens of the prompts carry no loss."""
    batch = tokenizer([chat(p) + a + "<|im_end|>" for p, a in answers.items()], return_tensors="pt", padding=True)
    labels = batch.input_ids.masked_fill(batch.attention_mask == 0, -100)
    for row, prompt in enumerate(answers):
        labels[row, : len(tokenizer(chat(prompt)).input_ids)] = -100
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(steps):
        loss = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
