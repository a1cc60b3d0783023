"""The Gaussian policy around a preference, and its score-function estimator (eq. 11-12)."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

NoiseMode = Literal["full", "token_shared", "low_rank"]
Objective = Literal["reinforce", "path", "paper_literal"]


class GaussianPolicy:
    """N(mu, sigma^2) in the coefficients of an orthonormal basis of the preference's rows.

    ``full``: every coordinate; ``token_shared``: one vector for all rows; ``low_rank``: a few given directions, such as
    principal components of the warm-start preference over users. Noise *and* density live in the coefficients: a
    full-space density under shared noise would overestimate the gradient by the number of rows.

    Args:
        rows, width: shape of the part of the preference that carries noise.
        sigma: standard deviation of each coefficient.
        basis: ``(k, rows * width)``, orthonormal rows; for ``low_rank`` only.
    """

    def __init__(
        self, mode: NoiseMode, rows: int, width: int, sigma: float, basis: Float[Tensor, "k dims"] | None = None
    ) -> None:
        if (mode == "low_rank") != (basis is not None):
            raise ValueError(f"noise {mode!r} {'needs' if mode == 'low_rank' else 'takes no'} basis")
        if not sigma > 0:
            raise ValueError(f"sigma must be positive, got {sigma}")
        self.mode, self.rows, self.width, self.sigma, self.basis = mode, rows, width, sigma, basis

    @property
    def dims(self) -> int:
        """How many coefficients carry noise."""
        if self.basis is not None:
            return len(self.basis)
        return self.width if self.mode == "token_shared" else self.rows * self.width

    def project(self, rows: Float[Tensor, "*batch rows width"]) -> Float[Tensor, "*batch k"]:
        """Coefficients B x."""
        if self.basis is not None:
            return rows.flatten(-2) @ self.basis.T
        return rows.sum(-2) / self.rows**0.5 if self.mode == "token_shared" else rows.flatten(-2)

    def expand(self, coefficients: Float[Tensor, "*batch k"]) -> Float[Tensor, "*batch rows width"]:
        """B^T c."""
        if self.basis is not None:
            return (coefficients @ self.basis).unflatten(-1, (self.rows, self.width))
        if self.mode == "token_shared":
            return (coefficients / self.rows**0.5).unsqueeze(-2).expand(*coefficients.shape[:-1], self.rows, self.width)
        return coefficients.unflatten(-1, (self.rows, self.width))

    def sample(
        self,
        mu: Float[Tensor, "batch rows width"],
        samples: int,
        generator: torch.Generator,
        *,
        antithetic: bool = False,
    ) -> Float[Tensor, "batch samples rows width"]:
        """x_t = mu + sigma B^T eps_t, detached: reward and density must not see one another through the sample.

        ``antithetic``: the second half of the samples are the first half's mirror images, eps_{t + r/2} = -eps_t.

        Raises:
            ValueError: an odd number of samples cannot be paired.
        """
        if antithetic and samples % 2:
            raise ValueError(f"antithetic samples come in pairs, got {samples}")
        eps = torch.randn(len(mu), samples // 2 if antithetic else samples, self.dims, generator=generator).to(mu)
        if antithetic:
            eps = torch.cat([eps, -eps], dim=1)
        return (mu[:, None] + self.sigma * self.expand(eps)).detach()

    def log_prob(
        self, x: Float[Tensor, "batch samples rows width"], mu: Float[Tensor, "batch rows width"]
    ) -> Float[Tensor, "batch samples"]:
        """Log of N(x; mu, sigma) over the coefficients, up to a constant that no gradient sees."""
        return -(self.project(x - mu[:, None]) ** 2).sum(-1) / (2 * self.sigma**2)

    def divergence(
        self, mu: Float[Tensor, "batch rows width"], start: Float[Tensor, "batch rows width"]
    ) -> Float[Tensor, " batch"]:
        """KL(N(mu, sigma) || N(mu_0, sigma)) = ||mu - mu_0||^2 / (2 sigma^2).

        Over all coordinates, not the basis's alone: training moves mu outside of it too, and nothing else holds it.
        """
        return ((mu - start) ** 2).sum((-2, -1)) / (2 * self.sigma**2)


def rewards(
    generated: Float[Tensor, "batch samples"], rivals: Float[Tensor, "batch rivals"], margin: float
) -> Float[Tensor, "batch samples"]:
    """f_t = - sum_c max(0, rho_c - rho_t + delta), c in {ref, glob}: eq. 11 turned into a reward.

    As printed, eq. 11 is a penalty with delta outside the hinge, where it changes nothing in expectation.
    """
    return -(rivals[:, None] - generated[..., None] + margin).clamp_min(0).sum(-1)


def leave_one_out(rewards: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch samples"]:
    """Advantage against the mean of the *other* samples, A_t = (r f_t - sum f) / (r - 1): unbiased for any r >= 2.

    Raises:
        ValueError: fewer than two samples.
    """
    r = rewards.shape[1]
    if r < 2:
        raise ValueError(f"leave-one-out needs at least 2 samples a request, got {r}")
    return (r * rewards - rewards.sum(1, keepdim=True)) / (r - 1)


def paired(rewards: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch samples"]:
    """Advantage of antithetic samples, A_t = (f_t - f_t') / 2 with t' the mirror image of t.

    Its estimate is exactly that of the raw f, because a pair's mean times (eps - eps) is 0, but its size does not
    depend on where f is centred. Leave-one-out would be biased here: the other samples hold the mirror image, and the
    estimate would be r / (r - 1) times too large.
    """
    return (rewards - rewards.roll(rewards.shape[1] // 2, dims=1)) / 2


def silent(advantage: Float[Tensor, "batch samples"]) -> Bool[Tensor, " batch"]:
    """Groups whose rewards (so also advantages) are all equal: they say nothing about the direction and are counted."""
    return (advantage - advantage[:, :1]).abs().amax(1) < 1e-9


def rank_loss(
    policy: GaussianPolicy,
    mu: Float[Tensor, "batch rows width"],
    x: Float[Tensor, "batch samples rows width"],
    advantage: Float[Tensor, "batch samples"],
) -> Float[Tensor, ""]:
    """L_rank = -(1/r) sum_t A_t log N(x_t; mu, sigma), mean over the batch (eq. 12, sample and advantage detached)."""
    return -(advantage.detach() * policy.log_prob(x, mu)).mean(1).mean()


class RunningScale:
    """Standard deviation of all *previous* batches' advantages; dividing by the current one would bias the estimate.

    It is given those of groups with a signal alone: the others would make it small, and the next step large.
    """

    def __init__(self) -> None:
        self.count, self.total = 0, 0.0

    def value(self) -> float:
        return max((self.total / self.count) ** 0.5, 1e-6) if self.count else 1.0

    def update(self, advantage: Tensor) -> None:
        self.count += advantage.numel()
        self.total += float((advantage**2).sum())
