"""Speed of text-to-image at SD-1.5's true size: pictures a second after each change to diffusers' plain loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import CLIPTextConfig, CLIPTextModel

from generation.backbone.backbone import AutoencoderKL, Backbone, UNet2DConditionModel
from generation.backbone.loading import DPMSolverMultistepScheduler
from generation.encoders.tokenizer import train_clip_tokenizer
from ragar_rec.studies.timing import seconds

CAPTIONS = ["a western in brown and yellow", "a quiet drama, grey, 1970s", "children, pink and green", "a red circle"]
GUIDANCE = 7.5
"""diffusers' default."""
SINGLE = 4
"""Pictures that are drawn in the rows of one picture at a time."""


def sd15_models() -> dict[str, Any]:
    """SD-1.5's models at their true configuration, random weights, by the names that ``Backbone.assemble`` has."""
    codec: dict[str, Any] = {
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
    }
    # The ids of our small tokenizer's special tokens.
    tokens: dict[str, Any] = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    text = CLIPTextConfig(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, **tokens
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return {
            "text_encoder": CLIPTextModel(text),
            "codec": AutoencoderKL(layers_per_block=2, sample_size=512, **codec),
            "unet": UNet2DConditionModel(sample_size=64, cross_attention_dim=768),  # else the class's defaults
        }


def sd15_backbone() -> Backbone:
    """SD-1.5 with random weights on the CPU, with a tokenizer of a few words."""
    tokenizer = train_clip_tokenizer(CAPTIONS, vocab_size=600, max_length=77)
    scheduler: Any = DPMSolverMultistepScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    return Backbone.assemble(**sd15_models(), tokenizer=tokenizer, scheduler=scheduler, size=(512, 512))


class TextToImage:
    """A number of captions drawn by a backbone, by diffusers' loop or by ours, with the same sampler and steps.

    Args:
        backbone: on its device.
        n: captions.
        steps: denoising steps.
    """

    def __init__(self, backbone: Backbone, *, n: int, steps: int) -> None:
        self.backbone, self.n, self.steps = backbone, n, steps
        self.captions = [CAPTIONS[i % len(CAPTIONS)] for i in range(n)]
        self.single = min(SINGLE, n)

    def by_diffusers(self) -> None:
        """A prompt at a time, as diffusers' documentation has it."""
        for i in range(self.single):
            self._diffusers(i, prompt=self.captions[i])

    def by_diffusers_with_states(self, states: torch.Tensor) -> None:
        """A prompt at a time, its text states and those of the empty prompt encoded beforehand."""
        for i in range(self.single):
            self._diffusers(i, prompt_embeds=states[i : i + 1], negative_prompt_embeds=self.backbone.empty)

    def in_batches(self, states: torch.Tensor, size: int, count: int) -> None:
        """So many of the captions by :meth:`Backbone.sample`, ``size`` at a time."""
        backbone = self.backbone
        for start in range(0, count, size):
            seeds = list(range(start, start + size))
            positive = states[start : start + size]
            negative = backbone.empty.expand_as(positive)
            backbone.sample(positive, negative, None, seeds, steps=self.steps, strength=1.0, guidance_scale=GUIDANCE)

    def _diffusers(self, seed: int, **prompt: Any) -> None:
        height, width = self.backbone.size
        pipeline: Any = self.backbone.text_to_image
        pipeline(
            **prompt,
            num_inference_steps=self.steps,
            guidance_scale=GUIDANCE,
            height=height,
            width=width,
            output_type="pt",
            generator=torch.Generator().manual_seed(seed),
        )


@torch.no_grad()
def text_to_image_rates(
    backbone: Backbone, device: str, *, n: int, batch: int, steps: int, compiled: bool = True
) -> list[tuple[str, float]]:
    """Text-to-image with guidance 7.5: pictures a second after each change, which all stay for the next rows.

    The first row is diffusers' loop as its documentation has it: a prompt at a time in float32.

    Args:
        backbone: is moved to the device and, row by row, to other precisions.
        device: ``cpu`` or ``cuda``.
        n: pictures in each row, but for the rows of single pictures, which draw four.
        batch: pictures at a time.
        steps: denoising steps.
        compiled: whether the last row, a compiled UNet, is measured.
    """
    backbone.to(device)
    work = TextToImage(backbone, n=n, steps=steps)
    single = work.single
    rows = [("diffusers, a prompt at a time, float32", _rate(work.by_diffusers, single))]
    states = backbone.states(work.captions)

    def add(name: str, draw: Callable[[], None], count: int) -> None:
        rows.append((name, _rate(draw, count)))

    def in_batches() -> None:
        work.in_batches(states, batch, n)

    add("text states kept", lambda: work.by_diffusers_with_states(states), single)
    add("keys and values of cross-attention kept", lambda: work.in_batches(states, 1, single), single)
    add(f"batches of {batch}", in_batches, n)
    settings: dict[str, Any] = {"dtype": torch.bfloat16}
    backbone.to(device, **settings)
    add("bfloat16", in_batches, n)
    backbone.to(device, **settings, channels_last=True)
    add("channels last", in_batches, n)
    if compiled:
        backbone.to(device, **settings, channels_last=True, compiled=True)
        add("compiled UNet (keys and values not kept)", in_batches, n)
    return rows


def _rate(draw: Callable[[], None], count: int) -> float:
    """Pictures a second."""
    # The first time chooses algorithms, and compiles.
    draw()
    return count / seconds(draw, 2)
