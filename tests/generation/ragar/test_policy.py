"""The policy: where its noise lives, what its density is, and that its estimator finds a gradient that is known."""

import math

import pytest
import torch
from torch import Tensor

from generation.ragar.advantage import (
    RunningScale,
    antithetic_advantage,
    hinge_reward,
    is_silent,
    leave_one_out_advantage,
)
from generation.ragar.policy import GaussianPolicy, rank_loss

ROWS, WIDTH = 3, 2
MODES = ("full", "token_shared", "low_rank")
DIMS = {"full": 6, "token_shared": 2, "low_rank": 2}


def make_policy(mode: str, sigma: float = 0.5) -> GaussianPolicy:
    basis = None
    if mode == "low_rank":
        directions = torch.randn(6, 2, generator=torch.Generator().manual_seed(1))
        basis = torch.linalg.qr(directions).Q.T.contiguous()
    return GaussianPolicy(mode, ROWS, WIDTH, sigma, basis)  # type: ignore[arg-type]


def matrix(policy: GaussianPolicy) -> Tensor:
    """B, row by row: what each unit coefficient expands to."""
    return policy.expand(torch.eye(policy.dims)).flatten(1)


@pytest.mark.parametrize("mode", MODES)
def test_the_basis_is_orthonormal_and_projection_is_its_transpose(mode: str, rng: torch.Generator) -> None:
    policy = make_policy(mode)
    basis = matrix(policy)
    assert basis.shape == (DIMS[mode], 6)
    torch.testing.assert_close(basis @ basis.T, torch.eye(DIMS[mode]), atol=1e-6, rtol=0)
    rows = torch.randn(4, ROWS, WIDTH, generator=rng)
    torch.testing.assert_close(policy.project(rows), rows.flatten(1) @ basis.T)
    coefficients = torch.randn(4, 5, policy.dims, generator=rng)
    torch.testing.assert_close(policy.project(policy.expand(coefficients)), coefficients)


def test_token_shared_noise_is_the_same_in_every_row() -> None:
    # (1, 0) in every row, divided by sqrt 3 to have norm 1
    torch.testing.assert_close(matrix(make_policy("token_shared"))[0], torch.tensor([1.0, 0.0] * 3) / math.sqrt(3))


@pytest.mark.parametrize("mode", MODES)
def test_samples_have_the_stated_deviation_inside_the_basis_and_none_outside(mode: str, rng: torch.Generator) -> None:
    policy = make_policy(mode, sigma=0.5)
    mu = torch.randn(1, ROWS, WIDTH, generator=rng, requires_grad=True)
    x = policy.sample(mu, 20_000, rng)
    assert not x.requires_grad
    assert x.shape == (1, 20_000, ROWS, WIDTH)
    noise = (x - mu.detach()[:, None])[0]
    coefficients = policy.project(noise)
    # standard error of a deviation: .5 / sqrt(2 * 20000) = .0025
    torch.testing.assert_close(coefficients.std(0), torch.full((DIMS[mode],), 0.5), atol=0.01, rtol=0)
    torch.testing.assert_close(policy.expand(coefficients), noise, atol=1e-6, rtol=0)


@pytest.mark.parametrize("mode", MODES)
def test_log_prob_is_the_normal_density_of_the_coefficients_up_to_a_constant(mode: str, rng: torch.Generator) -> None:
    policy = make_policy(mode, sigma=0.7)
    mu = torch.randn(2, ROWS, WIDTH, generator=rng)
    x = policy.sample(mu, 4, rng)
    normal = torch.distributions.Normal(policy.project(mu)[:, None], 0.7)
    expected, actual = normal.log_prob(policy.project(x)).sum(-1), policy.log_prob(x, mu)
    torch.testing.assert_close(actual - actual[:1, :1], expected - expected[:1, :1], atol=1e-4, rtol=1e-4)


def test_a_basis_belongs_to_low_rank_alone_and_sigma_is_positive() -> None:
    with pytest.raises(ValueError, match="noise 'low_rank' needs basis"):
        GaussianPolicy("low_rank", ROWS, WIDTH, 1.0)
    with pytest.raises(ValueError, match="noise 'full' takes no basis"):
        GaussianPolicy("full", ROWS, WIDTH, 1.0, torch.eye(6))
    with pytest.raises(ValueError, match="sigma must be positive, got nan"):
        GaussianPolicy("full", ROWS, WIDTH, float("nan"))
    with pytest.raises(ValueError, match=r"sigma must be positive, got 0\.0"):
        GaussianPolicy("full", ROWS, WIDTH, 0.0)


def test_rewards_by_hand() -> None:
    generated = torch.tensor([[1.0, 0.0, -2.0]])
    rivals = torch.tensor([[0.5, -1.0]])
    # at 1: both margins are kept. At 0: .5 - 0 + .5 = 1 and -1 + .5 < 0. At -2: .5 + 2 + .5 = 3 and -1 + 2 + .5 = 1.5
    assert hinge_reward(generated, rivals, 0.5).tolist() == [[0.0, -1.0, -4.5]]


def test_leave_one_out_by_hand() -> None:
    # 1 - (2 + 6) / 2, 2 - (1 + 6) / 2, 6 - (1 + 2) / 2
    assert leave_one_out_advantage(torch.tensor([[1.0, 2.0, 6.0]])).tolist() == [[-3.0, -1.5, 4.5]]
    with pytest.raises(ValueError, match="at least 2 samples a request, got 1"):
        leave_one_out_advantage(torch.zeros(3, 1))


def test_antithetic_samples_are_mirror_images(rng: torch.Generator) -> None:
    policy = make_policy("full")
    mu = torch.randn(2, ROWS, WIDTH, generator=rng)
    x = policy.sample(mu, 6, rng, antithetic=True)
    torch.testing.assert_close(x[:, :3] + x[:, 3:], 2 * mu[:, None].expand(-1, 3, -1, -1))
    assert (x[:, 0] - x[:, 1]).abs().min() > 0
    with pytest.raises(ValueError, match="antithetic samples come in pairs, got 3"):
        policy.sample(mu, 3, rng, antithetic=True)


def test_paired_by_hand() -> None:
    # samples 0 and 2 mirror each other, 1 and 3 do
    assert antithetic_advantage(torch.tensor([[1.0, 2.0, 4.0, -6.0]])).tolist() == [[-1.5, 4.0, 1.5, -4.0]]


def test_divergence_is_that_of_two_normals(rng: torch.Generator) -> None:
    policy = make_policy("full", sigma=0.7)
    mu, start = torch.randn(2, 2, ROWS, WIDTH, generator=rng)
    kl = torch.distributions.kl_divergence(
        torch.distributions.Normal(mu, 0.7), torch.distributions.Normal(start, 0.7)
    ).sum((1, 2))
    torch.testing.assert_close(policy.divergence(mu, start), kl)
    # every row moves by (1, 0), and 3 / (2 * .25) is the same whichever directions carry noise
    for mode in MODES:
        moved = torch.tensor([1.0, 0.0]).expand(1, ROWS, WIDTH)
        assert make_policy(mode).divergence(moved, torch.zeros(1, ROWS, WIDTH)).item() == pytest.approx(6.0)


def test_silent_groups_are_those_without_a_difference() -> None:
    assert is_silent(torch.tensor([[0.0, 0.0, 0.0], [-1.0, -1.0, 0.0]])).tolist() == [True, False]


def test_rank_loss_by_hand() -> None:
    policy = GaussianPolicy("full", 1, 1, 0.5)
    mu = torch.tensor([[[1.0]]], requires_grad=True)
    x = torch.tensor([[[[2.0]], [[0.5]]]])
    advantage = torch.tensor([[3.0, -1.0]], requires_grad=True)
    # log densities -(1)^2 / .5 = -2 and -(.5)^2 / .5 = -.5; minus the mean of 3 * -2 and -1 * -.5
    loss = rank_loss(policy, mu, x, advantage)
    assert loss.item() == pytest.approx(2.75)
    loss.backward()
    # -(1/2) (3 * (2 - 1) - 1 * (.5 - 1)) / .25
    assert mu.grad is not None
    assert mu.grad.item() == pytest.approx(-7.0)
    assert advantage.grad is None


# --- the estimator, on a reward whose gradient is known --------------------------------------------------------------
#
# f(x) = -|x - a|^2 / 2 - 1/2 with a = TARGET: the hinge is open everywhere (rival 0, margin 1/2), so f is the score
# less the margin. E f(mu + sigma e) has the gradient a - mu under any noise; the noise's subspace shows B^T B (a - mu).
# At mu = 0 with sigma = 1/2 rewards lie around f(0) = -15.25 / 2 - 1/2 = -8.125: far from 0, for a deviation of 2.

TARGET = torch.tensor([[1.0, -2.0], [0.5, 0.0], [3.0, 1.0]])
SIGMA = 0.5


def score(x: Tensor) -> Tensor:
    return -((x - TARGET) ** 2).sum((-2, -1)) / 2


def estimates(policy: GaussianPolicy, samples: int, groups: int, estimator: str, rng: torch.Generator) -> Tensor:
    """One estimate of the gradient at mu = 0 per group, shape (groups, 6)."""
    mu = torch.zeros(groups, ROWS, WIDTH, requires_grad=True)
    x = policy.sample(mu, samples, rng, antithetic=estimator == "antithetic")
    rivals = torch.zeros(groups, 1)  # the best there is: every hinge is open
    rewards = hinge_reward(score(x), rivals, 0.5)
    advantage = {
        "leave_one_out": lambda: leave_one_out_advantage(rewards),
        "antithetic": lambda: antithetic_advantage(rewards),
        "plain": lambda: rewards,
        "paper_literal": lambda: (rivals[:, None] - score(x)[..., None]).clamp_min(0).sum(-1) + 0.5,
    }[estimator]()
    rank_loss(policy, mu, x, advantage).backward()
    assert mu.grad is not None
    return -mu.grad.flatten(1) * groups  # the loss is a mean over groups


def inside(policy: GaussianPolicy) -> Tensor:
    """What the noise's subspace shows of the true gradient: B^T B a."""
    basis = matrix(policy)
    return TARGET.flatten() @ basis.T @ basis


ESTIMATORS = [("leave_one_out", 2), ("leave_one_out", 3), ("leave_one_out", 4), ("antithetic", 2), ("antithetic", 4)]


@pytest.mark.parametrize(("estimator", "samples"), ESTIMATORS)
@pytest.mark.parametrize("mode", MODES)
def test_the_estimator_is_unbiased(mode: str, estimator: str, samples: int, rng: torch.Generator) -> None:
    policy = make_policy(mode, SIGMA)
    estimated, truth = estimates(policy, samples, 10_000, estimator, rng), inside(policy)
    along = estimated @ (truth / truth.norm())
    standard = along.std() / 100
    assert (along.mean() - truth.norm()).abs() < 3 * standard
    # Narrow enough to see a wrong factor: the smallest, r / (r - 1) at r = 4, would be a third too much.
    assert 3 * standard < truth.norm() / 8
    # In no other direction is there anything, neither in the subspace (mean square of the error: variance / n) nor out.
    assert (estimated.mean(0) - truth).norm() < 3 * (estimated.var(0).sum() / 10_000).sqrt()
    torch.testing.assert_close(estimated @ matrix(policy).T @ matrix(policy), estimated, atol=1e-3, rtol=1e-4)


def expected_variance(policy: GaussianPolicy, estimator: str, r: int) -> float:
    """Total variance of one estimate, from the moments of e ~ N(0, I_d), with s = |e|^2, u = <a, e>, g = |B a|^2.

    f = c + sigma u - sigma^2 s / 2 with c = -|a|^2 / 2 - 1/2, and E s = d, E s^2 = d (d + 2),
    E s^3 = d (d + 2) (d + 4), E u^2 s = g (d + 2). One sample's estimate is f e / sigma:

    * plain: (E f^2 s / sigma^2 - g) / r;
    * leave-one-out is the sample covariance of f and e over sigma, whose variance is known for any distribution,
      (mu_22 + var f var e / (r - 1) - (r - 2) / (r - 1) cov^2) / r in each coordinate;
    * antithetic: even powers of e cancel, a pair's mean is u e, and there are r / 2 of them.
    """
    d, s2 = policy.dims, SIGMA**2
    g, c = inside(policy).square().sum().item(), -TARGET.square().sum().item() / 2 - 0.5
    if estimator == "plain":
        raw = c**2 * d + s2 * g * (d + 2) + s2**2 / 4 * d * (d + 2) * (d + 4) - c * s2 * d * (d + 2)
        return (raw / s2 - g) / r
    if estimator == "antithetic":
        return (g * (d + 2) - g) / (r / 2)
    mixed = s2 * g * (d + 2) + s2**2 / 4 * (2 * d**2 + 8 * d)  # E (f - E f)^2 s
    spread = s2 * g + s2**2 / 2 * d  # var f
    return (mixed + d * spread / (r - 1) - (r - 2) / (r - 1) * s2 * g) / s2 / r


@pytest.mark.parametrize(("estimator", "samples"), [("plain", 4), *ESTIMATORS])
@pytest.mark.parametrize("mode", MODES)
def test_the_estimators_variance_is_the_predicted_one(
    mode: str, estimator: str, samples: int, rng: torch.Generator
) -> None:
    policy = make_policy(mode, SIGMA)
    variance = estimates(policy, samples, 10_000, estimator, rng).var(0).sum().item()
    assert variance == pytest.approx(expected_variance(policy, estimator, samples), rel=0.1)


@pytest.mark.parametrize("mode", MODES)
def test_leave_one_out_has_less_than_half_the_variance_of_none(mode: str, rng: torch.Generator) -> None:
    # in all six coordinates 37.8 against 527.8: the plain one pays for the reward's distance from 0
    policy = make_policy(mode, SIGMA)
    ours, plain = (
        estimates(policy, 4, 10_000, estimator, rng).var(0).sum() for estimator in ("leave_one_out", "plain")
    )
    assert ours < 0.5 * plain
    if mode == "full":
        assert expected_variance(policy, "leave_one_out", 4) == pytest.approx(37.8, abs=0.05)
        assert expected_variance(policy, "plain", 4) == pytest.approx(527.8, abs=0.05)


def test_pairs_say_what_the_raw_reward_says_and_leave_one_out_on_them_would_exaggerate(rng: torch.Generator) -> None:
    policy = make_policy("full", SIGMA)
    x = policy.sample(torch.zeros(50, ROWS, WIDTH), 4, rng, antithetic=True)
    rewards = hinge_reward(score(x), torch.zeros(50, 1), 0.5)

    def direction(advantage: Tensor) -> Tensor:
        return (advantage[..., None] * policy.project(x)).mean(1)

    torch.testing.assert_close(direction(antithetic_advantage(rewards)), direction(rewards), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        direction(leave_one_out_advantage(rewards)), 4 / 3 * direction(rewards), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("mode", MODES)
def test_the_papers_objective_lowers_the_score_where_ours_raises_it(mode: str, rng: torch.Generator) -> None:
    policy = make_policy(mode)
    truth = inside(policy).view(ROWS, WIDTH)
    start = score(torch.zeros(ROWS, WIDTH))
    step = {
        name: score(0.1 * estimates(policy, 3, 20_000, name, rng).mean(0).view(ROWS, WIDTH)) - start
        for name in ("leave_one_out", "paper_literal")
    }
    # a step of .1 g changes -|a - x|^2 / 2 by .1 |g|^2 - .005 |g|^2, one of -.1 g by -.105 |g|^2
    size = truth.pow(2).sum()
    torch.testing.assert_close(step["leave_one_out"], 0.095 * size, rtol=0.15, atol=0)
    torch.testing.assert_close(step["paper_literal"], -0.105 * size, rtol=0.15, atol=0)


def test_the_scale_knows_previous_batches_only() -> None:
    scale = RunningScale()
    assert scale.value() == 1
    scale.update(torch.tensor([[1.0, -1.0, 2.0, -2.0]]))
    assert scale.value() == pytest.approx(math.sqrt(10 / 4))
    scale.update(torch.tensor([[3.0, -3.0]]))
    assert scale.value() == pytest.approx(math.sqrt(28 / 6))
    scale.update(torch.empty(0, 4))  # nobody gave a signal
    assert scale.value() == pytest.approx(math.sqrt(28 / 6))
    quiet = RunningScale()
    quiet.update(torch.zeros(2, 2))
    assert quiet.value() > 0  # it is divided by
