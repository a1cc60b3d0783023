"""Scores with a gradient: against finite differences, and against what the estimator finds without one."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from generation.encoders.hog import HogEncoder
from generation.ragar.advantage import antithetic_advantage
from generation.ragar.policy import GaussianPolicy, rank_loss
from generation.ragar.preference import Preference
from generation.ragar.ragar import Ragar
from generation.ragar.scoring import check_gradient, path_scores, rival_scores, score_samples
from generation.request import Request
from generation.reward import Mixture
from generation.rewards.relevance import Relevance
from generation_world import COLOURS, SHAPES, World, in_float64, request

IDS = [f"{colour}-{shape}" for colour in COLOURS for shape in SHAPES]
REQUESTS = [request(IDS[i], IDS[(i + 5) % 24], IDS[(i + 10) % 24], seed=i) for i in range(3)]


def redness(requests: Sequence[Request], images: Tensor) -> Tensor:
    return 100 * (images[:, 0] - images[:, 1:].mean(1)).mean((1, 2))


def ragar_in_float64(world: World) -> Ragar:
    """A generator whose frozen parts compute in float64."""
    ragar = world.ragar()
    ragar.backbone = in_float64(ragar)
    return ragar


def with_detail(preference: Preference, detail: Tensor) -> Preference:
    return replace(preference, detail=detail, overall=preference.overall.double())


def test_the_gradient_of_path_equals_finite_differences(world: World, rng: torch.Generator) -> None:
    """Preference -> two guided steps -> codec -> image encoder -> cosine -> mean, in float64."""
    ragar, encoder = ragar_in_float64(world), copy.deepcopy(world.encoder).double()
    reward = Relevance(encoder, world.gallery, world.gallery.semantic.double())
    preference = world.ragar().encode_preference(REQUESTS)
    start = preference.detail.detach().double().requires_grad_()

    def mean_reward(detail: Tensor) -> Tensor:
        return path_scores(ragar, with_detail(preference, detail), REQUESTS, reward, steps=2).mean()

    (gradient,) = torch.autograd.grad(mean_reward(start), start)
    assert gradient.dtype == torch.float64
    for _ in range(3):
        direction = torch.randn(start.shape, generator=rng, dtype=torch.float64)
        with torch.no_grad():
            difference = mean_reward(start + 1e-5 * direction) - mean_reward(start - 1e-5 * direction)
        torch.testing.assert_close((gradient * direction).sum(), difference / 2e-5, rtol=1e-5, atol=1e-9)


def test_the_gradient_of_path_in_lora_equals_finite_differences(world: World, rng: torch.Generator) -> None:
    """A and B of every attention -> two guided steps -> codec -> image encoder -> cosine -> mean, in float64."""
    ragar = ragar_in_float64(world)
    ragar.add_lora(2, rng)
    for value in ragar.sampling_backbone.lora.values():
        value.data = 0.1 * torch.randn(value.shape, generator=rng, dtype=torch.float64)
    reward = Relevance(copy.deepcopy(world.encoder).double(), world.gallery, world.gallery.semantic.double())
    preference = world.ragar().encode_preference(REQUESTS)
    fixed = with_detail(preference, preference.detail.detach().double())
    lora = [value for name, value in ragar.trained_parts().items() if ".lora_" in name]
    assert len(lora) == 4 * 2 * 4 * 2  # blocks, attentions, layers, matrices

    def mean_reward() -> Tensor:
        return path_scores(ragar, fixed, REQUESTS, reward, steps=2).mean()

    gradients = torch.autograd.grad(mean_reward(), lora)
    directions = [torch.randn(value.shape, generator=rng, dtype=torch.float64) for value in lora]

    @torch.no_grad()
    def moved(length: float) -> Tensor:
        for value, direction in zip(lora, directions, strict=True):
            value.add_(length * direction)
        return mean_reward()

    difference = moved(1e-6) - moved(-2e-6)
    along = sum((gradient * direction).sum() for gradient, direction in zip(gradients, directions, strict=True))
    assert isinstance(along, Tensor)
    assert along.abs() > 1e-4
    torch.testing.assert_close(along, difference / 2e-6, rtol=1e-5, atol=1e-9)


def test_checkpointing_changes_no_gradient(world: World) -> None:
    ragar = world.ragar()

    def gradient(checkpointing: bool) -> Tensor:
        preference = ragar.encode_preference(REQUESTS)
        scores = path_scores(ragar, preference, REQUESTS, redness, steps=2, checkpointing=checkpointing)
        return torch.autograd.grad(scores.mean(), preference.detail)[0]

    torch.testing.assert_close(gradient(True), gradient(False), rtol=1e-4, atol=1e-7)


def test_the_estimator_finds_the_gradient_of_path(world: World, rng: torch.Generator) -> None:
    # Along two directions, with noise so small that the score is linear there: what it finds without a gradient.
    ragar = world.ragar()
    preference = ragar.encode_preference(REQUESTS[:1])
    (true_gradient,) = torch.autograd.grad(
        path_scores(ragar, preference, REQUESTS[:1], redness, steps=2).mean(), preference.detail
    )
    random_direction = torch.randn(true_gradient.numel(), generator=rng)
    basis = torch.linalg.qr(
        torch.stack([true_gradient.flatten() / true_gradient.norm(), random_direction]).T
    ).Q.T.contiguous()
    policy = GaussianPolicy("low_rank", 20, 32, 0.3, basis)
    group = REQUESTS[:1] * 200
    mu = preference.detail.detach().expand(200, -1, -1).clone().requires_grad_()
    many = ragar.encode_preference(group)
    x = policy.sample(mu, 2, rng, antithetic=True)
    rank_loss(policy, mu, x, antithetic_advantage(score_samples(ragar, many, x, group, redness, steps=2)[0])).backward()
    assert mu.grad is not None
    estimates = policy.project(-mu.grad * 200)  # (200, 2)
    standard = estimates.std(0) / 200**0.5
    expected = policy.project(true_gradient[0])
    assert ((estimates.mean(0) - expected).abs() < 3 * standard).all()
    assert standard[0] < 0.15 * expected[0].abs()


def test_a_reward_without_gradient_is_refused(world: World) -> None:
    check_gradient(world.ragar(), REQUESTS[0], redness)
    with pytest.raises(ValueError, match="objective path needs a reward whose scores carry the gradient"):
        check_gradient(world.ragar(), REQUESTS[0], lambda requests, images: redness(requests, images.detach()))


def test_an_encoder_without_gradient_says_so(world: World) -> None:
    encoder = HogEncoder((48, 32))
    blind = Relevance(encoder, world.gallery, torch.zeros(25, encoder.dim))
    with pytest.raises(NotImplementedError, match="hog features have no gradient"):
        check_gradient(world.ragar(), REQUESTS[0], blind)


def test_a_reward_that_gives_no_single_number_a_picture_is_refused(world: World) -> None:
    ragar = world.ragar()
    preference = ragar.encode_preference(REQUESTS)
    x = preference.detail.detach()[:, None]

    def column(requests: Sequence[Request], images: Tensor) -> Tensor:
        return redness(requests, images)[:, None]

    for reward in (column, Mixture([(1.0, redness), (2.0, column)])):
        for score in (
            lambda reward=reward: rival_scores(ragar, REQUESTS, reward, steps=1, progress=False),
            lambda reward=reward: score_samples(ragar, preference, x, REQUESTS, reward, steps=1),
            lambda reward=reward: path_scores(ragar, preference, REQUESTS, reward, steps=1),
        ):
            with pytest.raises(ValueError, match=r"the reward gave shape \(3, 1\), it must give one number a picture"):
                score()
    with pytest.raises(ValueError, match=r"the reward gave shape \(\), it must"):
        path_scores(ragar, preference, REQUESTS, lambda requests, images: redness(requests, images).mean(), steps=1)
