"""The policy: where its noise lives, what its density is, and that its estimator finds a gradient that is known."""

import math

import pytest
import torch
from torch import Tensor

from generation.policy import (
    GaussianPolicy,
    RunningScale,
    leave_one_out,
    rank_loss,
    rewards,
    silent,
)

ROWS, WIDTH = 3, 2
MODES = ("full", "token_shared", "low_rank")
DIMS = {"full": 6, "token_shared": 2, "low_rank": 2}


def policy(mode: str, sigma: float = 0.5) -> GaussianPolicy:
    basis = None
    if mode == "low_rank":
        directions = torch.randn(6, 2, generator=torch.Generator().manual_seed(1))
        basis = torch.linalg.qr(directions).Q.T.contiguous()
    return GaussianPolicy(mode, ROWS, WIDTH, sigma, basis)  # type: ignore[arg-type]


def matrix(made: GaussianPolicy) -> Tensor:
    """B, row by row: what each unit coefficient expands to."""
    return made.expand(torch.eye(made.dims)).flatten(1)


@pytest.mark.parametrize("mode", MODES)
def test_the_basis_is_orthonormal_and_projection_is_its_transpose(mode: str, rng: torch.Generator) -> None:
    made = policy(mode)
    basis = matrix(made)
    assert basis.shape == (DIMS[mode], 6)
    torch.testing.assert_close(basis @ basis.T, torch.eye(DIMS[mode]), atol=1e-6, rtol=0)
    rows = torch.randn(4, ROWS, WIDTH, generator=rng)
    torch.testing.assert_close(made.project(rows), rows.flatten(1) @ basis.T)
    coefficients = torch.randn(4, 5, made.dims, generator=rng)
    torch.testing.assert_close(made.project(made.expand(coefficients)), coefficients)


def test_token_shared_noise_is_the_same_in_every_row() -> None:
    # (1, 0) in every row, divided by sqrt 3 to have norm 1
    torch.testing.assert_close(matrix(policy("token_shared"))[0], torch.tensor([1.0, 0.0] * 3) / math.sqrt(3))


@pytest.mark.parametrize("mode", MODES)
def test_samples_have_the_stated_deviation_inside_the_basis_and_none_outside(mode: str, rng: torch.Generator) -> None:
    made = policy(mode, sigma=0.5)
    mu = torch.randn(1, ROWS, WIDTH, generator=rng, requires_grad=True)
    x = made.sample(mu, 20_000, rng)
    assert not x.requires_grad
    assert x.shape == (1, 20_000, ROWS, WIDTH)
    noise = (x - mu.detach()[:, None])[0]
    coefficients = made.project(noise)
    # standard error of a deviation: .5 / sqrt(2 * 20000) = .0025
    torch.testing.assert_close(coefficients.std(0), torch.full((DIMS[mode],), 0.5), atol=0.01, rtol=0)
    torch.testing.assert_close(made.expand(coefficients), noise, atol=1e-6, rtol=0)


@pytest.mark.parametrize("mode", MODES)
def test_log_prob_is_the_normal_density_of_the_coefficients_up_to_a_constant(mode: str, rng: torch.Generator) -> None:
    made = policy(mode, sigma=0.7)
    mu = torch.randn(2, ROWS, WIDTH, generator=rng)
    x = made.sample(mu, 4, rng)
    normal = torch.distributions.Normal(made.project(mu)[:, None], 0.7)
    theirs, mine = normal.log_prob(made.project(x)).sum(-1), made.log_prob(x, mu)
    torch.testing.assert_close(mine - mine[:1, :1], theirs - theirs[:1, :1], atol=1e-4, rtol=1e-4)


def test_a_basis_belongs_to_low_rank_alone_and_sigma_is_positive() -> None:
    with pytest.raises(ValueError, match="noise 'low_rank' needs basis"):
        GaussianPolicy("low_rank", ROWS, WIDTH, 1.0)
    with pytest.raises(ValueError, match="noise 'full' takes no basis"):
        GaussianPolicy("full", ROWS, WIDTH, 1.0, torch.eye(6))
    with pytest.raises(ValueError, match=r"sigma must be positive, got 0\.0"):
        GaussianPolicy("full", ROWS, WIDTH, 0.0)


def test_rewards_by_hand() -> None:
    generated = torch.tensor([[1.0, 0.0, -2.0]])
    rivals = torch.tensor([[0.5, -1.0]])
    # at 1: both margins are kept. At 0: .5 - 0 + .5 = 1 and -1 + .5 < 0. At -2: .5 + 2 + .5 = 3 and -1 + 2 + .5 = 1.5
    assert rewards(generated, rivals, 0.5).tolist() == [[0.0, -1.0, -4.5]]


def test_leave_one_out_by_hand() -> None:
    # 1 - (2 + 6) / 2, 2 - (1 + 6) / 2, 6 - (1 + 2) / 2
    assert leave_one_out(torch.tensor([[1.0, 2.0, 6.0]])).tolist() == [[-3.0, -1.5, 4.5]]
    with pytest.raises(ValueError, match="at least 2 samples a request, got 1"):
        leave_one_out(torch.zeros(3, 1))


def test_silent_groups_are_those_without_a_difference() -> None:
    assert silent(torch.tensor([[0.0, 0.0, 0.0], [-1.0, -1.0, 0.0]])).tolist() == [True, False]


def test_rank_loss_by_hand() -> None:
    made = GaussianPolicy("full", 1, 1, 0.5)
    mu = torch.tensor([[[1.0]]], requires_grad=True)
    x = torch.tensor([[[[2.0]], [[0.5]]]])
    advantage = torch.tensor([[3.0, -1.0]], requires_grad=True)
    # log densities -(1)^2 / .5 = -2 and -(.5)^2 / .5 = -.5; minus the mean of 3 * -2 and -1 * -.5
    loss = rank_loss(made, mu, x, advantage)
    assert loss.item() == pytest.approx(2.75)
    loss.backward()
    # -(1/2) (3 * (2 - 1) - 1 * (.5 - 1)) / .25
    assert mu.grad is not None
    assert mu.grad.item() == pytest.approx(-7.0)
    assert advantage.grad is None


TARGET = torch.tensor([[1.0, -2.0], [0.5, 0.0], [3.0, 1.0]])


def score(x: Tensor) -> Tensor:
    """-|x - a|^2 / 2: the gradient of its mean under any noise around mu is a - mu."""
    return -((x - TARGET) ** 2).sum((-2, -1)) / 2


def estimates(made: GaussianPolicy, samples: int, groups: int, objective: str, rng: torch.Generator) -> Tensor:
    """One estimate of the gradient at mu = 0 per group, shape (groups, 6)."""
    mu = torch.zeros(groups, ROWS, WIDTH, requires_grad=True)
    x = made.sample(mu, samples, rng)
    rivals = torch.zeros(groups, 1)  # the best there is: every hinge is open
    if objective == "ours":
        advantage = leave_one_out(rewards(score(x), rivals, 0.5))
    else:
        advantage = (rivals[:, None] - score(x)[..., None]).clamp_min(0).sum(-1) + 0.5
    rank_loss(made, mu, x, advantage).backward()
    assert mu.grad is not None
    return -mu.grad.flatten(1) * groups  # the loss is a mean over groups


@pytest.mark.parametrize("samples", [2, 3])
@pytest.mark.parametrize("mode", MODES)
def test_the_estimator_is_unbiased(mode: str, samples: int, rng: torch.Generator) -> None:
    made = policy(mode)
    found = estimates(made, samples, 20_000, "ours", rng)
    basis = matrix(made)
    # what can be known of a - mu = a is its part inside the basis: B^T B a
    truth = TARGET.flatten() @ basis.T @ basis
    error = (found.mean(0) - truth) @ basis.T
    standard = (found @ basis.T).std(0) / math.sqrt(len(found))
    assert truth.norm() > 1
    assert (error.abs() < 3 * standard).all()
    assert (standard < 0.1 * truth.norm()).all()  # and the interval is narrow enough to exclude a wrong factor
    torch.testing.assert_close(found @ basis.T @ basis, found, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_the_papers_objective_lowers_the_score_where_ours_raises_it(mode: str, rng: torch.Generator) -> None:
    made = policy(mode)
    truth = (TARGET.flatten() @ matrix(made).T @ matrix(made)).view(ROWS, WIDTH)
    start = score(torch.zeros(ROWS, WIDTH))
    step = {
        name: score(0.1 * estimates(made, 3, 20_000, name, rng).mean(0).view(ROWS, WIDTH)) - start
        for name in ("ours", "paper_literal")
    }
    # a step of .1 g changes -|a - x|^2 / 2 by .1 |g|^2 - .005 |g|^2, one of -.1 g by -.105 |g|^2
    size = truth.pow(2).sum()
    torch.testing.assert_close(step["ours"], 0.095 * size, rtol=0.15, atol=0)
    torch.testing.assert_close(step["paper_literal"], -0.105 * size, rtol=0.15, atol=0)


def test_leave_one_out_has_less_variance_than_none(rng: torch.Generator) -> None:
    made = policy("full")
    ours = estimates(made, 3, 5000, "ours", rng).var(0).sum()
    raw = estimates(made, 3, 5000, "paper_literal", rng).var(0).sum()
    assert ours < 0.7 * raw


def test_the_scale_knows_previous_batches_only() -> None:
    scale = RunningScale()
    assert scale.value() == 1
    scale.update(torch.tensor([[1.0, -1.0, 2.0, -2.0]]))
    assert scale.value() == pytest.approx(math.sqrt(10 / 4))
    scale.update(torch.tensor([[3.0, -3.0]]))
    assert scale.value() == pytest.approx(math.sqrt(28 / 6))
    quiet = RunningScale()
    quiet.update(torch.zeros(2, 2))
    assert quiet.value() > 0  # it is divided by
