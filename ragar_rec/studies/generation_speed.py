"""Speed of the generator: a batch of pictures beside the bare UNet and codec, and where reward training spends time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from generation.pictures import to_float
from generation.ragar.ragar import Ragar
from generation.ragar.reflection import reflect
from generation.ragar.warm_start import ReflectionLog
from generation.request import Request
from ragar_rec.experiment import Experiment
from ragar_rec.studies.timing import seconds, stopwatch

MODELS = ("UNet", "codec", "text encoder", "image encoder")
"""Parts of :func:`reward_training` that no implementation can do without."""


@torch.no_grad()
def bare_generation(ragar: Ragar, embeds: Tensor, negative: Tensor, references: Tensor) -> Tensor:
    """What no generation can do without: encode once, the UNet twice (guidance) a step, decode once."""
    pipeline, config = ragar.backbone.pipeline, ragar.config
    condition = torch.cat([negative, embeds])
    latents = pipeline.vae.encode(references * 2 - 1).latents
    for step in range(config.steps):
        pipeline.unet(torch.cat([latents, latents]), 999 - step, encoder_hidden_states=condition, return_dict=False)
    return pipeline.vae.decode(latents).sample


@torch.no_grad()
def batch_seconds(ragar: Ragar, requests: Sequence[Request], *, repeats: int) -> dict[str, float]:
    """Seconds for one batch of pictures.

    Returns:
        ``product`` (the generator's own method), ``bare`` (:func:`bare_generation`), ``preference`` (encoding the
        users alone), each the fastest of ``repeats``, and ``flop``, the operations of the bare computation.
    """
    embeds = ragar.encode_preference(requests).embeds()
    negative = ragar.backbone.negative(embeds)
    references = to_float(ragar.gallery.images[ragar.gallery.rows([request.reference for request in requests])])
    taken: dict[str, list[float]] = {"product": [], "bare": [], "preference": []}
    with FlopCounterMode(display=False) as counter:
        bare_generation(ragar, embeds, negative, references)
    ragar.generate(requests)
    # By turns: what slows the machine down for a while slows all three.
    for _ in range(repeats):
        taken["product"].append(seconds(lambda: ragar.generate(requests)))
        taken["bare"].append(seconds(lambda: bare_generation(ragar, embeds, negative, references)))
        taken["preference"].append(seconds(lambda: ragar.encode_preference(requests)))
    return {name: min(values) for name, values in taken.items()} | {"flop": float(counter.get_total_flops())}


def reward_training(run: Experiment, requests: Sequence[Request], *, steps: int) -> tuple[float, dict[str, float]]:
    """Seconds of a reward phase with the config's settings, and of those the ones inside each model."""
    ragar = run.components.new_generator(run.config.generator)
    settings = replace(run.config.reflection, reward_steps=steps)
    pipeline, reward = ragar.backbone.pipeline, run.reward_ranker.reward
    parts: dict[str, list[tuple[Any, str]]] = {
        "UNet": [(pipeline.unet, "forward")],
        "codec": [(pipeline.vae, "encode"), (pipeline.vae, "decode")],
        "text encoder": [(pipeline.text_encoder, "forward")],
        "image encoder": [(reward.encoder, "encode_images")],
        "language model": [(ragar.language.model.base_model, "forward")],
        "ranker": [(run.reward_ranker.view, "substitute")],
    }
    # One small step beforehand pays for what is done only once.
    warm_up = replace(settings, reward_steps=1, batch_size=2)
    reflect(ragar, requests[:2], reward, warm_up, ReflectionLog(), progress=False)
    with stopwatch(parts) as inside:
        total = seconds(lambda: reflect(ragar, requests, reward, settings, ReflectionLog(), progress=False))
    return total, dict(inside)
