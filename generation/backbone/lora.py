"""The door to peft: LoRA on the attention of a UNet whose own weights stay as they are."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft import LoraConfig
from torch import nn

NAME = "ragar"
"""Of ours among a UNet's adapters."""
ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
"""What has LoRA: queries, keys, values and output of every attention block, as in diffusers' own training scripts."""


def add_lora(unet: Any, rank: int, generator: torch.Generator) -> None:
    """W x becomes W x + B A x (Hu et al. 2021, LoRA) in every attention block, with A and B of this rank.

    B begins at 0, so that nothing has changed yet. The scale alpha / r is 1, which is what a file without metadata
    means to diffusers. A and B are float32, whatever W is: a step of 1e-5 is lost in bfloat16's 8 bits.

    Raises:
        ValueError: the UNet has adapters already.
    """
    if there := list(getattr(unet, "peft_config", {})):
        raise ValueError(f"the UNet has LoRA already ({', '.join(there)}): fuse that into its weights first")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=ATTENTION), NAME)
    for value in lora_of(unet).values():
        value.data = value.data.float()


def lora_of(unet: nn.Module) -> dict[str, nn.Parameter]:
    """A and B of every block, by the names of diffusers' LoRA files; nothing where :func:`add_lora` was not called."""
    return {
        "unet." + name.replace(f".{NAME}.", "."): value
        for name, value in unet.named_parameters()
        if f".{NAME}." in name
    }


@contextmanager
def keeping_lora(unet: nn.Module) -> Iterator[None]:
    """While the UNet goes to another device or precision: its LoRA follows to the device alone."""
    kept = {name: value.detach() for name, value in lora_of(unet).items()}
    yield
    for name, value in lora_of(unet).items():
        value.data = kept[name].to(value.device)
