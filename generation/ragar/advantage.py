"""Eq. 11: from scores to rewards, and from rewards to the advantages that weight the log densities of eq. 12."""

from jaxtyping import Bool, Float
from torch import Tensor


def hinge_reward(
    scores: Float[Tensor, "batch samples"], rival_scores: Float[Tensor, "batch rivals"], margin: float
) -> Float[Tensor, "batch samples"]:
    """f_t = - sum_c max(0, rho_c - rho_t + delta), c in {ref, glob}: eq. 11 turned into a reward.

    As printed, R_t = sum_c max(0, rho_c - rho_t) + delta is a penalty, which the printed L_rank raises; and delta
    outside the hinge changes nothing in expectation.
    """
    return -(rival_scores[:, None] - scores[..., None] + margin).clamp_min(0).sum(-1)


def literal_reward(
    scores: Float[Tensor, "batch samples"], rival_scores: Float[Tensor, "batch rivals"], margin: float
) -> Float[Tensor, "batch samples"]:
    """R_t = sum_c max(0, rho_c - rho_t) + delta, eq. 11 as printed, for the ablation ``paper_literal``."""
    return (rival_scores[:, None] - scores[..., None]).clamp_min(0).sum(-1) + margin


def leave_one_out_advantage(rewards: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch samples"]:
    """Advantage over the mean of the *other* samples, A_t = (r f_t - sum f) / (r - 1): unbiased for any r >= 2.

    Raises:
        ValueError: fewer than two samples.
    """
    r = rewards.shape[1]
    if r < 2:
        raise ValueError(f"leave-one-out needs at least 2 samples a request, got {r}")
    return (r * rewards - rewards.sum(1, keepdim=True)) / (r - 1)


def antithetic_advantage(rewards: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch samples"]:
    """Advantage of antithetic samples, A_t = (f_t - f_t') / 2 with t' the mirror image of t.

    The gradient estimate equals that of the raw f, because a pair's mean reward is multiplied by eps - eps = 0; but the
    size of the advantages does not depend on the mean of f. Leave-one-out would be biased here: the other samples hold
    the mirror image, and the estimate would be r / (r - 1) times too large.
    """
    # Sample t + r/2 mirrors sample t: see GaussianPolicy.sample.
    return (rewards - rewards.roll(rewards.shape[1] // 2, dims=1)) / 2


def is_silent(advantage: Float[Tensor, "batch samples"]) -> Bool[Tensor, " batch"]:
    """Groups whose rewards, and so advantages, are all equal: they say nothing about the direction, and are counted."""
    return (advantage - advantage[:, :1]).abs().amax(1) < 1e-9


class RunningScale:
    """Root mean square of all *previous* batches' advantages, i.e. their deviation from 0.

    Dividing by the current batch's would bias the estimate, because it depends on the samples. Add only groups with a
    signal: the zeros of the others would make the scale small, and the next step large.
    """

    def __init__(self) -> None:
        self.count, self.sum_of_squares = 0, 0.0

    def value(self) -> float:
        """The scale so far; 1 before the first batch."""
        return max((self.sum_of_squares / self.count) ** 0.5, 1e-6) if self.count else 1.0

    def update(self, advantage: Float[Tensor, "groups samples"]) -> None:
        """Add a batch."""
        self.count += advantage.numel()
        self.sum_of_squares += float((advantage**2).sum())
