"""What a UNet computes from the condition alone, computed once per sampling call."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor


@contextmanager
def caching_condition(unet: UNet2DConditionModel) -> Iterator[None]:
    """Compute what depends on the condition alone at the first step, and use it in all that follow.

    That is, keys and values of cross-attention and the pooled text embedding: the condition is one tensor for the whole
    call. Not a bit of the result changes. An IP-Adapter's rows are taken from the condition, and the reference's rows
    of an EditUNet added to it, anew at each step: then nothing is found again.
    """
    # diffusers names every cross-attention attn2; attn1 is self-attention, whose input changes with each step.
    attentions = [block for name, block in unet.named_modules() if name.endswith("attn2")]
    modules: list[Any] = [module for block in attentions for module in (block.to_k, block.to_v)]
    if unet.config["addition_embed_type"] == "text":
        modules.append(unet.add_embedding)
    # accelerate's hooks stand in the instance as `forward`; they are put back, not deleted.
    instance_forwards = {module: vars(module).get("forward") for module in modules}
    for module in modules:
        module.forward = cache_last(module.forward)
    try:
        yield
    finally:
        for module, forward in instance_forwards.items():
            if forward is None:
                del module.forward
            else:
                module.forward = forward


def cache_last(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The function, which returns its last result again as long as it is called with the very same tensor."""
    last: list[Any] = []

    def cached(x: Tensor) -> Tensor:
        # A callback of diffusers may write into the condition in place: torch counts such writes in `_version`, which
        # tensors made under inference_mode do not have.
        version = None if x.is_inference() else x._version
        if not (last and last[0] is x and last[1] == version):
            last[:] = [x, version, forward(x)]
        return last[2]

    return cached
