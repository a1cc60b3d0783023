"""Eq. 12: the Gaussian policy around a preference, and L_rank, its score-function (REINFORCE) estimator."""

import torch
from jaxtyping import Float
from torch import Tensor

from generation.ragar.reflection_config import NoiseMode


class GaussianPolicy:
    """N(mu, sigma^2) around a preference mu, in the coefficients of an orthonormal basis B of its rows.

    ``full``: every coordinate; ``token_shared``: one vector for all rows; ``low_rank``: a few given directions, such as
    principal components of the warm-start preference over users. Noise *and* density live in the coefficients: a
    full-space density under shared noise would overestimate the gradient by the number of rows.

    The fewer dimensions, the better the estimate: the cosine of an r-sample estimate with the true gradient is about
    sqrt(r / (d + r)).

    Args:
        mode: which basis.
        rows, width: shape of the part of the preference that carries noise.
        sigma: standard deviation of each coefficient.
        basis: ``(k, rows * width)``, orthonormal rows; for ``low_rank`` only.

    Raises:
        ValueError: a basis is missing or superfluous, or sigma is not positive.
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
        """Number of coefficients, d."""
        if self.basis is not None:
            return len(self.basis)
        return self.width if self.mode == "token_shared" else self.rows * self.width

    def project(self, rows: Float[Tensor, "*batch rows width"]) -> Float[Tensor, "*batch k"]:
        """Coefficients B x of rows x."""
        if self.basis is not None:
            return rows.flatten(-2) @ self.basis.T
        # token_shared: the basis vectors repeat in every row, divided by sqrt(rows) to have length 1.
        return rows.sum(-2) / self.rows**0.5 if self.mode == "token_shared" else rows.flatten(-2)

    def expand(self, coefficients: Float[Tensor, "*batch k"]) -> Float[Tensor, "*batch rows width"]:
        """Rows B^T c of coefficients c."""
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
        """Draw x_t = mu + sigma B^T eps_t, detached.

        Detached, because the density of a sample that moves with mu would have no gradient in mu at all.
        ``antithetic``: the second half of the samples are the first half's mirror images, eps_{t + r/2} = -eps_t.

        Raises:
            ValueError: an odd number of samples cannot be paired.
        """
        if antithetic and samples % 2:
            raise ValueError(f"antithetic samples come in pairs, got {samples}")
        # Drawn on the CPU, so that a GPU gets the same noise.
        eps = torch.randn(len(mu), samples // 2 if antithetic else samples, self.dims, generator=generator).to(mu)
        if antithetic:
            eps = torch.cat([eps, -eps], dim=1)
        return (mu[:, None] + self.sigma * self.expand(eps)).detach()

    def log_prob(
        self, x: Float[Tensor, "batch samples rows width"], mu: Float[Tensor, "batch rows width"]
    ) -> Float[Tensor, "batch samples"]:
        """Log N(x; mu, sigma) over the coefficients, up to a constant (which has no gradient)."""
        return -(self.project(x - mu[:, None]) ** 2).sum(-1) / (2 * self.sigma**2)

    def divergence(
        self, mu: Float[Tensor, "batch rows width"], mu_0: Float[Tensor, "batch rows width"]
    ) -> Float[Tensor, " batch"]:
        """KL(N(mu, sigma) || N(mu_0, sigma)) = ||mu - mu_0||^2 / (2 sigma^2).

        Over all coordinates, not the basis's alone: training moves mu outside of it too, and nothing else holds it.
        """
        return ((mu - mu_0) ** 2).sum((-2, -1)) / (2 * self.sigma**2)


def rank_loss(
    policy: GaussianPolicy,
    mu: Float[Tensor, "batch rows width"],
    x: Float[Tensor, "batch samples rows width"],
    advantage: Float[Tensor, "batch samples"],
) -> Float[Tensor, ""]:
    """L_rank = -(1/r) sum_t A_t log N(x_t; mu, sigma), mean over the batch (eq. 12).

    Sample and advantage are detached, so that the gradient is that of REINFORCE. As printed, without detaching, it
    would be 0.
    """
    return -(advantage.detach() * policy.log_prob(x, mu)).mean(1).mean()
