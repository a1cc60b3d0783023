"""The door to peft's prefix tuning: a frozen language model that reads trainable keys and values before its input."""

import warnings
from typing import Any

import torch
from peft import PrefixTuningConfig, get_peft_model
from torch import nn


def with_prefix(model: Any, tokens: int, generator: torch.Generator) -> Any:
    """The model behind ``tokens`` trainable keys and values in every layer (P-tuning v2, Liu et al. 2022).

    The model is shared and frozen, not copied; without a prefix in front of it, it computes what it did before.

    Args:
        model: a transformers model, without the head that predicts tokens.
        tokens: positions of the prefix.
        generator: seeds the prefix.

    Returns:
        peft's model. It takes ``inputs_embeds``, ``attention_mask`` and ``position_ids`` of the input alone.
    """
    # peft initialises the prefix from the global generator; it is seeded from ours and put back behind.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # peft asks transformers for an attribute by its former name.
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        return get_peft_model(model, PrefixTuningConfig(task_type="FEATURE_EXTRACTION", num_virtual_tokens=tokens))


def prefix_of(model: Any) -> nn.Module:
    """The trainable part of what :func:`with_prefix` returned."""
    return model.prompt_encoder
