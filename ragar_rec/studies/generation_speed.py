"""Speed of the generator: a batch of pictures beside the bare UNet and codec, and where reward training spends time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from generation.backbone.backbone import Backbone
from generation.pictures import to_float
from generation.ragar.ragar import Ragar
from generation.ragar.reflection import reflect
from generation.ragar.warm_start import ReflectionLog
from generation.request import Request
from ragar_rec.experiment import Experiment
from ragar_rec.studies.memory import peak_memory
from ragar_rec.studies.timing import seconds, stopwatch

MODELS = ("UNet", "codec", "text encoder", "image encoder", "language model", "ranker", "backward pass")
"""Parts of :func:`reward_training` that no implementation can do without."""


@torch.no_grad()
def bare_generation(ragar: Ragar, embeds: Tensor, negative: Tensor, references: Tensor) -> Tensor:
    """What no generation can do without: encode once, the UNet a step, twice with guidance, decode once."""
    pipeline, config = ragar.backbone.pipeline, ragar.config
    latents = pipeline.vae.encode(references * 2 - 1).latents
    sample = torch.cat([latents, latents], dim=1) if ragar.backbone.edits else latents
    condition = embeds
    if config.guidance_scale > 1:
        sample, condition = torch.cat([sample, sample]), torch.cat([negative, embeds])
    for step in range(config.steps):
        pipeline.unet(sample, 999 - step, encoder_hidden_states=condition, return_dict=False)
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


def size_costs(folder: Path, size: tuple[int, int], *, batch: int, learned: int) -> dict[str, float]:
    """What pictures of one size cost a backbone, by random conditions.

    Args:
        folder: of the backbone.
        size: height and width in pixels.
        batch: pictures drawn at a time.
        learned: pictures of a step with gradient, from the condition to the pixels and back.

    Returns:
        ``seconds`` a batch and ``step_seconds``, fastest of three, and ``bytes``, the process's peak so far.
    """
    backbone = Backbone.from_pretrained(folder, size)
    rng = torch.Generator().manual_seed(0)
    references = torch.rand(batch, 3, *size, generator=rng)
    states = torch.randn(batch, *backbone.without_picture(backbone.empty).shape[1:], generator=rng)

    def draw(condition: Tensor, *, with_grad: bool) -> Tensor:
        """One step without guidance."""
        n = len(condition)
        settings: dict[str, Any] = {"steps": 1, "strength": 1.0, "guidance_scale": 1.0, "with_grad": with_grad}
        return backbone.sample(condition, backbone.negative(condition), references[:n], range(n), **settings)

    def step() -> None:
        draw(states[:learned].clone().requires_grad_(), with_grad=True).mean().backward()

    taken = {"seconds": seconds(lambda: draw(states, with_grad=False), 3), "step_seconds": seconds(step, 3)}
    return taken | {"bytes": float(peak_memory())}


def reward_training(run: Experiment, requests: Sequence[Request], *, steps: int) -> tuple[float, dict[str, float]]:
    """Seconds of a reward phase with the config's settings, and of those the ones inside each model."""
    ragar = run.ragar.load(run.ragar.warm.folder)
    settings = replace(run.config.reflection, reward_steps=steps)
    pipeline, reward = ragar.backbone.pipeline, run.ragar.reward
    parts: dict[str, list[tuple[Any, str]]] = {
        "UNet": [(pipeline.unet, "forward")],
        "codec": [(pipeline.vae, "encode"), (pipeline.vae, "decode")],
        "text encoder": [(pipeline.text_encoder, "forward")],
        "image encoder": [(run.reward_ranker.reward.encoder, "encode_images")],
        "language model": [(ragar.language.model.base_model, "forward")],
        "ranker": [(run.reward_ranker.view, name) for name in ("substitute", "substitute_users")],
        # The gradient norms of the curves, too, which each term of the loss has of its own.
        "backward pass": [(torch.Tensor, "backward"), (torch.autograd, "grad")],
    }
    # One small step beforehand pays for what is done only once.
    warm_up = replace(settings, reward_steps=1, batch_size=2)
    reflect(ragar, requests[:2], reward, warm_up, ReflectionLog(), progress=False)
    with stopwatch(parts) as inside:
        total = seconds(lambda: reflect(ragar, requests, reward, settings, ReflectionLog(), progress=False))
    return total, dict(inside)
