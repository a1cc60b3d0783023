"""An ensemble's reward by hand: its mean, and what it pays less where its members disagree."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from generation.pictures import to_float
from generation.ragar.reflection import reflect
from generation.ragar.reflection_config import ReflectionConfig
from generation.ragar.reflection_log import ReflectionLog
from generation.request import Request
from generation.reward import DirectedReward, Mixture, Reward, UncertainReward
from generation.rewards.ensemble import Ensemble
from generation_world import World, request


def member(slope: float, offset: float) -> Reward:
    """The picture's redness, worth `slope`; of the item itself the member thinks `offset`."""
    return lambda requests, images: slope * images[:, 0].mean((1, 2)) + offset


def test_the_discount_is_the_disagreement_on_the_picture_and_not_on_the_item(world: World) -> None:
    """Slopes 1, 2 and 6: mean 3, deviation sqrt((4 + 1 + 9) / 2) = sqrt 7, of red more or less than the item's own."""
    reward = Ensemble([member(1, 5), member(2, -30), member(6, 40)], world.gallery, discount=0.5)
    assert isinstance(reward, UncertainReward)
    requests = [request("red-circle"), request("blue-bar")]
    own = to_float(world.gallery.images[world.gallery.rows(["red-circle", "blue-bar"])])
    images = own.clone()
    images[0, 0] -= 0.1
    images[1, 0] += 0.2
    red = images[:, 0].mean((1, 2))
    torch.testing.assert_close(reward.deviation(requests, images), torch.tensor([0.1, 0.2]) * 7**0.5)
    expected = 3 * red + 5 - 0.5 * torch.tensor([0.1, 0.2]) * 7**0.5
    torch.testing.assert_close(reward(requests, images), expected)
    torch.testing.assert_close(reward(requests, own), 3 * own[:, 0].mean((1, 2)) + 5)


def test_the_gradient_of_the_discount_points_back_to_the_reference(world: World) -> None:
    """Per unit of red: 3 - .5 sqrt 7 above the item's own, 3 + .5 sqrt 7 below, and 3 where all agree."""
    reward = Ensemble([member(1, 0), member(2, 0), member(6, 0)], world.gallery, discount=0.5)
    requests = [request("red-circle")] * 3
    images = to_float(world.gallery.images[world.gallery.rows(["red-circle"] * 3)])
    images[0, 0] += 0.1
    images[1, 0] -= 0.1
    images.requires_grad_()
    reward(requests, images).sum().backward()
    assert images.grad is not None
    found = images.grad[:, 0].sum((1, 2))
    torch.testing.assert_close(found, torch.tensor([3 - 0.5 * 7**0.5, 3 + 0.5 * 7**0.5, 3.0]), rtol=1e-3, atol=1e-3)


def test_the_direction_is_the_mean_of_the_members_unit_directions(world: World) -> None:
    """(3, 4) / 5 and (0, 1): mean (.3, .9), at length 1 (1, 3) / sqrt 10. Two that are opposed leave nothing."""

    class Towards:
        encoder = world.encoder

        def __init__(self, *direction: float) -> None:
            self.way = torch.tensor(direction, dtype=torch.float32)

        def __call__(self, requests: Sequence[Request], images: Tensor) -> Tensor:
            raise NotImplementedError

        def direction(self, requests: Sequence[Request], features: Tensor) -> Tensor:
            return (self.way / self.way.norm()).expand_as(features)

    members: list[Any] = [Towards(3, 4), Towards(0, 2)]
    ensemble, features = Ensemble(members, world.gallery, discount=1.0), torch.zeros(2, 2)
    assert isinstance(ensemble, DirectedReward)
    assert ensemble.encoder is members[0].encoder
    found = ensemble.direction([request("red-circle")] * 2, features)
    torch.testing.assert_close(found, (torch.tensor([1.0, 3.0]) / 10**0.5).expand(2, 2))
    away: Any = Towards(-3, -4)
    opposed = Ensemble([members[0], away], world.gallery, discount=1.0)
    assert not opposed.direction([request("red-circle")] * 2, features).any()


def test_an_ensemble_of_rewards_without_a_direction_knows_none(world: World) -> None:
    ensemble = Ensemble([member(1, 0), member(2, 0)], world.gallery, discount=0.0)
    with pytest.raises(ValueError, match="knows no direction"):
        ensemble.direction([request("red-circle")], torch.zeros(1, 2))


def test_references_are_scored_once(world: World) -> None:
    calls: list[int] = []

    def counted(requests: Sequence[Request], images: Tensor) -> Tensor:
        calls.append(len(images))
        return images.mean((1, 2, 3))

    reward = Ensemble([counted, member(1, 0)], world.gallery, discount=1.0)
    requests = [request("red-circle"), request("blue-bar"), request("red-circle", seed=7)]
    images = torch.rand(3, 3, *world.gallery.images.shape[2:])
    for _ in range(2):
        reward(requests, images)
    assert calls == [3, 2, 3]  # pictures, two references, pictures


def test_training_records_how_far_members_disagree(world: World) -> None:
    reward = Mixture([(2.0, Ensemble([member(1, 0), member(3, 0)], world.gallery, 0.1)), (1.0, member(1, 0))])
    config = ReflectionConfig(reward_steps=1, batch_size=2, samples=2, steps=1, rank=2)
    requests = [request("red-circle", "red-bar", seed=1), request("blue-bar", "blue-circle", seed=2)]
    reflect(world.ragar(), requests, reward, config, log := ReflectionLog(), progress=False)
    assert [step for step, _ in log.curves.values["uncertainty: v_gen"]] == [0, 1]
    assert all(value > 0 for _, value in log.curves.values["uncertainty: v_gen"])


def test_one_training_alone_has_no_uncertainty(world: World) -> None:
    with pytest.raises(ValueError, match="rewards disagree where there are two or more, got 1"):
        Ensemble([member(1, 0)], world.gallery, 1.0)
    conflicts = list(ReflectionConfig(uncertainty=1.0).conflicts())
    assert conflicts == ["uncertainty 1.0 is that of several trainings: ensemble must be at least 2"]
    conflicts = list(ReflectionConfig(ensemble=2, rewards={"relevance": 1.0}).conflicts())
    assert conflicts == ["ensemble 2 is about the reward ranker, but rewards name relevance"]
