"""L_rank, the reward's term of the loss (eq. 10-12): by noisy preferences, or by the gradient through the sampler.

Each step of it has its own module: scores (eq. 10) in `scoring.py`, rewards and advantages (eq. 11) in `advantage.py`,
the log density (eq. 12) in `policy.py`, the regression that does without it in `negative_aware.py`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from generation.ragar.advantage import (
    RunningScale,
    antithetic_advantage,
    hinge_reward,
    is_silent,
    leave_one_out_advantage,
    literal_reward,
)
from generation.ragar.negative_aware import forward_loss
from generation.ragar.policy import GaussianPolicy, rank_loss
from generation.ragar.preference import Preference
from generation.ragar.ragar import Ragar
from generation.ragar.reflection_config import ReflectionConfig
from generation.ragar.scoring import path_scores, score_samples
from generation.request import Request
from generation.reward import Reward


class RankTerm(NamedTuple):
    """L_rank of a batch, and what it was made of."""

    loss: Float[Tensor, ""]
    """L_rank (eq. 12)."""
    scores: Float[Tensor, "batch samples"]
    """Scores of the pictures (eq. 10)."""
    silent: Bool[Tensor, " batch"]
    """Requests that gave no signal."""


class PathGradient:
    """L_rank with the gradient through picture and denoising steps: one picture a request, minus its reward."""

    def __init__(self, ragar: Ragar, reward: Reward, config: ReflectionConfig) -> None:
        self.ragar, self.reward, self.config = ragar, reward, config

    def __call__(
        self, preference: Preference, requests: Sequence[Request], rival_scores: Float[Tensor, "batch rivals"]
    ) -> RankTerm:
        """L_rank = -f, mean over the batch; not divided by a scale."""
        config = self.config
        scores = path_scores(
            self.ragar, preference, requests, self.reward, steps=config.steps, checkpointing=config.checkpointing
        )[:, None]
        rewards = hinge_reward(scores, rival_scores, config.margin)
        # A reward of 0: both rivals are beaten by the margin, the hinges are flat and have no gradient.
        return RankTerm(-rewards.mean(), scores, rewards[:, 0] == 0)


class PolicyGradient:
    """L_rank of noisy preferences by the score function (eq. 12), or by the forward process of their pictures.

    Advantages are in units of those of all batches before.
    """

    def __init__(
        self, ragar: Ragar, reward: Reward, config: ReflectionConfig, policy: GaussianPolicy, generator: torch.Generator
    ) -> None:
        self.ragar, self.reward, self.config = ragar, reward, config
        self.policy, self.generator = policy, generator
        self.scale = RunningScale()

    def __call__(
        self, preference: Preference, requests: Sequence[Request], rival_scores: Float[Tensor, "batch rivals"]
    ) -> RankTerm:
        """Sample noisy preferences, draw and score their pictures without gradient, and learn from the better ones."""
        config, mu = self.config, preference.detail
        samples = self.policy.sample(mu, config.samples, self.generator, antithetic=config.in_pairs)
        scores, pictures = score_samples(self.ragar, preference, samples, requests, self.reward, steps=config.steps)
        advantage = advantages(scores, rival_scores, config)
        silent = is_silent(advantage)
        scaled = advantage / self.scale.value()
        if config.objective == "nft":
            with self.ragar.sampling_backbone.checkpointing(config.checkpointing):
                loss = forward_loss(
                    self.ragar, preference, requests, pictures, scaled, steps=config.steps, generator=self.generator
                )
        else:
            loss = rank_loss(self.policy, mu, samples, scaled)
        # Only now: the scale must not know the batch that it divides.
        self.scale.update(advantage[~silent])
        return RankTerm(loss, scores, silent)


def advantages(
    scores: Float[Tensor, "batch samples"], rival_scores: Float[Tensor, "batch rivals"], config: ReflectionConfig
) -> Float[Tensor, "batch samples"]:
    """Weights A_t of the log densities (eq. 11-12), by objective and baseline."""
    if config.objective == "paper_literal":
        return literal_reward(scores, rival_scores, config.margin)
    rewards = hinge_reward(scores, rival_scores, config.margin)
    return antithetic_advantage(rewards) if config.in_pairs else leave_one_out_advantage(rewards)
