"""Sampling by diffusers' own pipelines: how many steps they run, with a gradient or without."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from generation.backbone.condition_cache import caching_condition
from generation.precision import to_single_precision


def scheduled(steps: int, strength: float) -> int:
    """The ``num_inference_steps`` of which diffusers' image-to-image really runs ``steps`` at this strength."""
    # diffusers runs int(num_inference_steps * strength) of them. Counted up and not divided, because the product's
    # rounding decides: steps / strength, rounded up, is one off for some pairs.
    count = steps
    while int(count * strength) < steps:
        count += 1
    return count


def call_pipeline(pipeline: Any, *, with_grad: bool, cache_condition: bool, **arguments: Any) -> Any:
    """The images of a pipeline's own ``__call__``; tensors come back in float32.

    Args:
        pipeline: any pipeline of Stable Diffusion.
        with_grad: keep the gradient through every step.
        cache_condition: compute what depends on the condition alone once a call. With a gradient or a compiled UNet
            it must be off: each step then needs its own graph.
        arguments: of the pipeline's ``__call__``.
    """
    # The pipelines' __call__ is one decorated function; what torch.no_grad() wraps is the sampling loop itself.
    call = inspect.unwrap(type(pipeline).__call__) if with_grad else type(pipeline).__call__
    with caching_condition(pipeline.unet) if cache_condition else nullcontext():
        images = call(pipeline, **arguments).images
    return to_single_precision(images) if isinstance(images, Tensor) else images


@contextmanager
def gradient_checkpointing(unet: UNet2DConditionModel, enabled: bool) -> Iterator[None]:
    """The UNet keeps only its blocks' inputs and computes the rest again in the backward pass; then as before."""
    switch = enabled and not unet.is_gradient_checkpointing
    if switch:
        unet.enable_gradient_checkpointing()
    try:
        yield
    finally:
        if switch:
            unet.disable_gradient_checkpointing()
