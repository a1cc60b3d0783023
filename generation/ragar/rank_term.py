"""L_rank: the reward's term of the loss, by policy gradient or through the sampler (eq. 10-12)."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from generation.ragar.policy import GaussianPolicy, RunningScale, leave_one_out, paired, rank_loss, rewards, silent
from generation.ragar.preference import Preference
from generation.ragar.ragar import Ragar
from generation.ragar.reflection_config import ReflectionConfig
from generation.ragar.scoring import path_scores, score_samples
from generation.request import Request
from generation.reward import Reward

RankTerm = tuple[Float[Tensor, "batch samples"], Float[Tensor, ""], Bool[Tensor, " batch"]]
"""Scores of the pictures, L_rank, and which requests gave no signal."""


def path_term(
    ragar: Ragar,
    preference: Preference,
    requests: Sequence[Request],
    reward: Reward,
    rivals: Float[Tensor, "batch rivals"],
    config: ReflectionConfig,
) -> RankTerm:
    """L_rank with the gradient through picture and denoising steps: one picture a request, minus its reward."""
    scores = path_scores(ragar, preference, requests, reward, steps=config.steps, checkpointing=config.checkpointing)
    gained = rewards(scores[:, None], rivals, config.margin)
    return scores[:, None], -gained.mean(), gained[:, 0] == 0  # 0: the hinges are closed, there is no gradient


def policy_term(
    ragar: Ragar,
    preference: Preference,
    requests: Sequence[Request],
    reward: Reward,
    rivals: Float[Tensor, "batch rivals"],
    config: ReflectionConfig,
    policy: GaussianPolicy,
    scale: RunningScale,
    generator: torch.Generator,
) -> RankTerm:
    """L_rank by the score function (eq. 12), in units of the advantages so far; ``scale`` learns of these."""
    x = policy.sample(preference.detail, config.samples, generator, antithetic=config.in_pairs)
    scores = score_samples(ragar, preference, x, requests, reward, steps=config.steps)
    advantage = advantages(scores, rivals, config)
    rank, without_signal = rank_loss(policy, preference.detail, x, advantage / scale.value()), silent(advantage)
    scale.update(advantage[~without_signal])
    return scores, rank, without_signal


def advantages(
    scores: Float[Tensor, "batch samples"], rivals: Float[Tensor, "batch rivals"], config: ReflectionConfig
) -> Float[Tensor, "batch samples"]:
    """What the log densities are weighted with (eq. 11-12), by objective and baseline."""
    if config.objective == "paper_literal":
        return (rivals[:, None] - scores[..., None]).clamp_min(0).sum(-1) + config.margin
    gained = rewards(scores, rivals, config.margin)
    return paired(gained) if config.in_pairs else leave_one_out(gained)
