"""The objective without a likelihood: its loss by hand, and a reward that goes up by it, whatever the reward is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from generation.backbone.backbone import Backbone
from generation.ragar.negative_aware import negative_aware_loss, optimality
from generation.ragar.ragar import Ragar
from generation.ragar.reflection import reflect
from generation.ragar.reflection_config import ReflectionConfig
from generation.ragar.reflection_log import ReflectionLog
from generation.request import Request
from generation_world import COLOURS, SHAPES, SMALL, World, request

IDS = [f"{colour}-{shape}" for colour in COLOURS for shape in SHAPES]
REQUESTS = [request(IDS[i], *(IDS[(5 * i + j * j + 1) % 24] for j in range(4)), seed=i) for i in range(12)]
NFT = ReflectionConfig(
    objective="nft",
    reward_steps=8,
    batch_size=12,
    samples=2,
    rank=4,
    sigma=2.0,
    margin=100.0,
    alpha=1.0,
    beta=0.0,
    gamma=0.0,
    learning_rate=1e-2,
)


def redness(requests: Sequence[Request], images: Tensor) -> Tensor:
    """How much redder than its other channels a picture is, in percent; without a gradient."""
    return 100 * (images.detach()[:, 0] - images.detach()[:, 1:].mean(1)).mean((1, 2))


@pytest.fixture
def ragar(world: World, edit: Backbone) -> Ragar:
    """On the backbone that edits, in one step."""
    config = replace(SMALL, steps=1, guidance_scale=1.0)
    return Ragar(edit, world.language(), world.gallery, config, text_projection=world.encoder.text_projection)


@pytest.mark.parametrize(
    ("probability", "loss", "slope"),
    [
        (1.0, 4.0, -4.0),  # (1 - 3)^2, and its derivative 2 (1 - 3)
        (0.0, 16.0, 8.0),  # (1 + 3)^2
        (0.5, 10.0, 2.0),  # their mean
    ],
)
def test_the_loss_by_hand(probability: float, loss: float, slope: float) -> None:
    """v_old is 5, v_theta 6 and v 8: the change is 1, the error of the old policy 3."""
    predicted = torch.full((1, 2, 2), 6.0, requires_grad=True)
    old, target = torch.full((1, 2, 2), 5.0), torch.full((1, 2, 2), 8.0)
    found = negative_aware_loss(predicted, old, target, torch.tensor([probability]))
    assert found.item() == pytest.approx(loss)
    (gradient,) = torch.autograd.grad(found, predicted)
    assert gradient.sum().item() == pytest.approx(slope)


@pytest.mark.parametrize(("probability", "best"), [(1.0, 8.0), (0.75, 6.5), (0.5, 5.0), (0.0, 2.0)])
def test_the_loss_is_least_as_far_from_the_old_policy_as_the_picture_is_good(probability: float, best: float) -> None:
    """5 + (2 r - 1) (8 - 5): towards the picture where it is good, away from it where it is bad."""
    predicted = torch.tensor([best], requires_grad=True)
    loss = negative_aware_loss(predicted, torch.tensor([5.0]), torch.tensor([8.0]), torch.tensor([probability]))
    assert torch.autograd.grad(loss, predicted)[0].item() == pytest.approx(0, abs=1e-5)


def test_optimality_is_a_probability() -> None:
    advantage = torch.tensor([[-9.0, -2.0, 0.0, 1.0, 2.0, 9.0]])
    assert optimality(advantage).tolist() == [[0.0, 0.0, 0.5, 0.75, 1.0, 1.0]]


def test_the_reward_goes_up_on_noise_that_training_never_saw_and_without_a_gradient_of_it(
    world: World, ragar: Ragar
) -> None:
    """By .23 here, by `reinforce` .16. How far depends on the UNet of three steps, which may hardly listen."""
    held_out = [replace(each, seed=each.seed + 1000) for each in REQUESTS]
    unet = {name: value.clone() for name, value in ragar.backbone.pipeline.unet.state_dict().items()}
    start = redness(held_out, ragar.generate(held_out))
    reflect(ragar, REQUESTS, redness, NFT, log := ReflectionLog(), progress=False)
    gain = redness(held_out, ragar.generate(held_out)) - start
    other = Ragar(ragar.backbone, world.language(), ragar.gallery, ragar.config, text_projection=ragar.text_projection)
    reflect(other, REQUESTS, redness, replace(NFT, objective="reinforce"), ReflectionLog(), progress=False)
    assert gain.mean() > 1.2 * (redness(held_out, other.generate(held_out)) - start).mean() > 0
    assert (gain > 0).sum() >= 10  # of 12
    assert (log.groups, log.silent_groups) == (96, 0)
    assert all(torch.equal(value, unet[name]) for name, value in ragar.backbone.pipeline.unet.state_dict().items())


def test_with_no_weight_nothing_moves(ragar: Ragar) -> None:
    before = {name: value.detach().clone() for name, value in ragar.trained_parts().items()}
    reflect(ragar, REQUESTS, redness, replace(NFT, alpha=0.0, reward_steps=2), ReflectionLog(), progress=False)
    for name, value in ragar.trained_parts().items():
        torch.testing.assert_close(value.detach(), before[name], atol=1e-6, rtol=0)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_reward_without_a_gradient_trains_lora(ragar: Ragar, checkpointing: bool) -> None:
    """B leaves 0 in the first step, also where blocks are computed again in the backward pass."""
    config = replace(NFT, reward_steps=1, lora_rank=2, checkpointing=checkpointing)
    reflect(ragar, REQUESTS, redness, config, ReflectionLog(), progress=False)
    assert min(value.abs().max() for value in ragar.sampling_backbone.lora.values()) > 1e-3
