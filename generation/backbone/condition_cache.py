"""What a UNet computes from the condition alone, computed once per sampling call."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.utils.outputs import BaseOutput as BaseOutput
from torch import Tensor


@contextmanager
def remembering(unet: UNet2DConditionModel) -> Iterator[None]:
    """What the UNet makes of the condition alone (keys and values of cross-attention, the pooled words) is computed at
    the first step and used in all that follow: the condition is one tensor for the whole call. Not a bit changes.
    """
    attentions = [block for name, block in unet.named_modules() if name.endswith("attn2")]
    readers: list[Any] = [reader for block in attentions for reader in (block.to_k, block.to_v)]
    if unet.config["addition_embed_type"] == "text":
        readers.append(unet.add_embedding)
    hooked = {reader: vars(reader).get("forward") for reader in readers}  # accelerate's hooks stand there
    for reader in readers:
        reader.forward = once(reader.forward)
    try:
        yield
    finally:
        for reader, own in hooked.items():
            if own is None:
                del reader.forward
            else:
                reader.forward = own


def once(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The function, which gives its last result again as long as it is asked about the very same tensor."""
    last: list[Any] = []

    def remembered(x: Tensor) -> Tensor:
        version = None if x.is_inference() else x._version  # a callback may write into the condition
        if not (last and last[0] is x and last[1] == version):
            last[:] = [x, version, forward(x)]
        return last[2]

    return remembered
