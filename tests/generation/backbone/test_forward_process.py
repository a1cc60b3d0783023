"""The forward process: the timesteps of sampling, and what the UNet should predict, whatever it predicts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor

from generation.backbone.backbone import Backbone
from generation.backbone.forward_process import predict_noisy, visited_timesteps
from generation.pictures import to_float
from generation_world import SMALL, World


@pytest.mark.parametrize("edits", [False, True])
@pytest.mark.parametrize(("steps", "strength"), [(1, 0.25), (2, 0.6), (3, 1.0)])
def test_visited_timesteps_are_those_of_sampling(
    world: World, edit: Backbone, edits: bool, steps: int, strength: float
) -> None:
    backbone, seen = edit if edits else world.backbone, list[float]()
    sampling = replace(SMALL, steps=steps, strength=strength, guidance_scale=1.0)
    images = to_float(world.gallery.images[:1])
    condition = backbone.without_picture(backbone.states(["red"]))
    hook = backbone.pipeline.unet.register_forward_pre_hook(lambda _, inputs: seen.append(float(inputs[1])))
    try:
        backbone.draw(condition, images, [0], sampling)
    finally:
        hook.remove()
    assert visited_timesteps(backbone, sampling).tolist() == seen


@pytest.mark.parametrize("prediction", ["sample", "epsilon", "v_prediction"])
def test_the_target_is_what_the_unet_predicts(
    edit: Backbone, monkeypatch: pytest.MonkeyPatch, rng: torch.Generator, prediction: Any
) -> None:
    """The scheduler finds the clean latent again from noisy latent and target; a UNet that edits sees the reference."""
    scheduler = DDIMScheduler(prediction_type=prediction, clip_sample=False)
    monkeypatch.setattr(edit.pipeline, "scheduler", scheduler)
    clean, noise = torch.randn(2, 2, 192, 6, 4, generator=rng)
    references, seen = torch.rand(2, 3, 48, 32, generator=rng), list[Tensor]()
    timesteps, condition = torch.tensor([50, 700]), torch.zeros(2, 1, 32)
    hook = edit.pipeline.unet.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        predicted, target = predict_noisy(edit, clean, references, condition, timesteps, noise)
    finally:
        hook.remove()
    assert predicted.shape == target.shape == clean.shape
    noisy, beside = seen[0].chunk(2, dim=1)
    torch.testing.assert_close(noisy, scheduler.add_noise(clean, noise, timesteps))  # type: ignore[arg-type]
    torch.testing.assert_close(beside, edit.reference_latents(references))
    scheduler.set_timesteps(1000)
    for row, t in enumerate(timesteps.tolist()):
        step: Any = scheduler.step(target[row], t, noisy[row])  # type: ignore[arg-type]
        torch.testing.assert_close(step.pred_original_sample, clean[row], atol=1e-4, rtol=1e-4)
