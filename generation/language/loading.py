"""The door to causal language models of transformers: reading one from a folder or a hub."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from generation.checkpoint import reading_weights


def load_language_model(source: str | Path) -> tuple[PreTrainedModel, Tokenizer]:
    """Read any causal LM: a folder of ``save_pretrained``, or a hub name such as ``Qwen/Qwen2.5-0.5B-Instruct``.

    Raises:
        FileNotFoundError: there is none, or only a part of one; the message says how to get one.
        ValueError: its weights are pickled or do not read.
    """
    with reading_weights("language model", source, example="Qwen/Qwen2.5-0.5B-Instruct"):
        model = AutoModelForCausalLM.from_pretrained(source, use_safetensors=True, dtype=torch.float32)
        return model, AutoTokenizer.from_pretrained(source)
