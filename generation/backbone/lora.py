"""The door to peft: LoRA on the attention of a UNet whose own weights stay as they are."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft import LoraConfig
from torch import nn

NAME = "ragar"
"""Name of our adapter among a UNet's."""
ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
"""Layers that get LoRA: queries, keys, values and output of every attention block, as in diffusers' own scripts."""


def add_lora(unet: Any, rank: int, generator: torch.Generator) -> None:
    """Turn W x into W x + B A x (Hu et al. 2021, LoRA) in every attention block, with A and B of this rank.

    B begins at 0, so that the UNet's output does not change yet. A and B are float32, whatever W is: a step of 1e-5 is
    lost in bfloat16's 8 bits.

    Raises:
        ValueError: the UNet has adapters already.
    """
    if existing := list(getattr(unet, "peft_config", {})):
        raise ValueError(f"the UNet has LoRA already ({', '.join(existing)}): fuse that into its weights first")
    # peft initialises A from the global generator; it is seeded from ours and put back behind.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        # alpha = r: the scale alpha / r is 1, which is what a file without metadata means to diffusers.
        unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=ATTENTION), NAME)
    for value in lora_of(unet).values():  # peft gives them the precision of W
        value.data = value.data.float()


def lora_of(unet: nn.Module) -> dict[str, nn.Parameter]:
    """A and B of every block, by the names of diffusers' LoRA files; empty where :func:`add_lora` was not called."""
    # peft's names have the adapter's name in them (to_q.lora_A.ragar.weight), those of the files have not.
    return {
        "unet." + name.replace(f".{NAME}.", "."): value
        for name, value in unet.named_parameters()
        if f".{NAME}." in name
    }


@contextmanager
def keeping_lora_precision(unet: nn.Module) -> Iterator[None]:
    """While the UNet goes to another device or precision, let its LoRA follow to the device alone."""
    # Converting back from bfloat16 would have lost bits. `.data`: an optimiser holds these very parameters.
    before = {name: value.detach() for name, value in lora_of(unet).items()}
    yield
    for name, value in lora_of(unet).items():
        value.data = before[name].to(value.device)
