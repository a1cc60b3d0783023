"""Eq. 15: L = alpha L_rank + beta L_cal + gamma L_sem, and the reward phase, which trains the generator with it.

L_rank (eq. 10-12) is in `rank_term.py`, L_cal (eq. 13) and L_sem (eq. 14) are in `losses.py`.
"""

import logging
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from generation.pictures import to_float
from generation.ragar.divergence import WarmStartDivergence
from generation.ragar.exploration import build_policy
from generation.ragar.losses import calibrator_loss, semantic_loss
from generation.ragar.policy import GaussianPolicy
from generation.ragar.preference import Preference
from generation.ragar.ragar import Ragar
from generation.ragar.rank_term import PathGradient, PolicyGradient
from generation.ragar.reflection_config import ReflectionConfig
from generation.ragar.reflection_log import ReflectionLog
from generation.ragar.scoring import check_gradient, rival_scores
from generation.request import Request
from generation.reward import Reward, UncertainReward, parts_of
from generation.training import batches, one_cycle, update_average

logger = logging.getLogger(__name__)

FIRST_STEPS = 3
"""After so many steps without any signal it is said that there is none."""
APPEARANCE_EVERY = 20
"""Steps between two measurements of how v_gen looks: each draws one batch, 1 to 2 % of what the steps between draw."""


def reflect(
    ragar: Ragar,
    requests: Sequence[Request],
    reward: Reward,
    config: ReflectionConfig,
    log: ReflectionLog,
    *,
    progress: bool = True,
) -> None:
    """Run the reward phase: minimise alpha L_rank + beta L_cal + gamma L_sem (eq. 15) over all trained parts together.

    Pictures are made and scored without gradient; all samples of a request share its initial latent noise. Under
    ``path`` there is one picture a request, without noise, and L_rank is minus its reward, not divided by a scale.
    A reward that has given no signal in the first steps is noted, and again at the end. How v_gen looks is measured on
    the first ``batch_size`` requests at intervals and at the end, beside their references.
    With ``lora_rank`` the generator gets LoRA, which L_rank alone reaches. With ``kl``, a fourth term holds the
    preference near the warm start's. With ``ema``, what remains is the moving average of the trained parts, its [IMG]
    rows rescaled to their length. The reward is only called, never changed.

    Raises:
        ValueError: fewer than two requests, ``path`` with a reward that has no gradient, a reward that is not one
            finite number a picture, or ``lora_rank`` for a generator that has LoRA already.
    """
    if len(requests) < 2:
        raise ValueError(f"reflection needs at least 2 requests, got {len(requests)}")
    # One generator for batches and noise, drawn by turns: the order is part of the result.
    generator = torch.Generator().manual_seed(config.seed + 1)
    policy = build_policy(ragar, requests, config) if config.objective != "path" or config.kl else None
    objective = _rank_objective(ragar, reward, config, policy, generator)
    if config.objective == "path":
        check_gradient(ragar, requests[0], reward)
    rivals = rival_scores(ragar, requests, reward, steps=config.steps, progress=progress)  # (requests, 2)
    # Before LoRA is added: it compares with the warm start, which has none.
    divergence = WarmStartDivergence(ragar, policy) if policy is not None and config.kl else None
    if config.lora_rank:
        ragar.add_lora(config.lora_rank, torch.Generator().manual_seed(config.seed + 2))
    parameters = list(ragar.trained_parts().values())
    optimizer = torch.optim.Adam(parameters, lr=config.learning_rate)
    schedule = one_cycle(optimizer, config.reward_steps)
    average = [parameter.detach().clone() for parameter in parameters]
    steps = batches(len(requests), config.batch_size, config.reward_steps, generator)
    bar = tqdm(steps, total=config.reward_steps, desc="reward training", unit="step", disable=not progress)
    for step, indices in enumerate(bar):
        if step % APPEARANCE_EVERY == 0:
            _log_appearance(ragar, requests[: config.batch_size], reward, config, log, step)
        batch = [requests[i] for i in indices.tolist()]
        preference = ragar.encode_preference(batch)
        rank = objective(preference, batch, rivals[indices])
        losses = weighted_losses(ragar, preference, batch, rank.loss, config, divergence)
        optimizer.zero_grad()
        if step % 10 == 0:  # as often as a curve needs: each term costs a backward pass of its own
            log.add_gradient_norms(step, gradient_norms(losses, parameters))
        sum(losses.values(), torch.zeros(())).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        ragar.language.renormalise()
        if config.ema:
            update_average(average, parameters, step, config.ema)
        log.add_batch(step, rank.scores, rivals[indices][:, :1], rank.silent)
        if step + 1 in (FIRST_STEPS, config.reward_steps) and log.silent_groups == log.groups:
            logger.warning(_silence(log.groups, config))
    if config.ema:
        _replace(ragar, parameters, average)
    _log_appearance(ragar, requests[: config.batch_size], reward, config, log, config.reward_steps)


@torch.no_grad()
def _log_appearance(
    ragar: Ragar, requests: Sequence[Request], reward: Reward, config: ReflectionConfig, log: ReflectionLog, step: int
) -> None:
    """Record how v_gen and the references of these requests look, and how little the reward knows of them.

    Only the requests' own seeds make noise.
    """
    v_gen = ragar.render(ragar.encode_preference(requests).embeds(), requests, steps=config.steps).cpu()
    references = ragar.gallery.images[ragar.gallery.rows([request.reference for request in requests])]
    log.add_appearance(step, v_gen, to_float(references))
    for part in parts_of(reward):
        if isinstance(part, UncertainReward):
            log.add_deviation(step, part.deviation(requests, v_gen))


def _silence(groups: int, config: ReflectionConfig) -> str:
    """The note on a reward that has given no direction yet; the training goes on with the other terms of eq. 15."""
    if config.objective == "path":
        reason = f"every picture beats both rivals by reflection.margin {config.margin}, and nothing is left to gain"
    else:
        reason = "the reward is the same for all pictures of a request"
    return f"reward training: none of the first {groups:,} groups of pictures gave a signal, as {reason}"


def _rank_objective(
    ragar: Ragar, reward: Reward, config: ReflectionConfig, policy: GaussianPolicy | None, generator: torch.Generator
) -> PathGradient | PolicyGradient:
    """How L_rank is computed; under ``path`` the policy, if there is one, serves the divergence alone."""
    if policy is None or config.objective == "path":
        return PathGradient(ragar, reward, config)
    return PolicyGradient(ragar, reward, config, policy, generator)


def weighted_losses(
    ragar: Ragar,
    preference: Preference,
    requests: Sequence[Request],
    rank_loss: Tensor,
    config: ReflectionConfig,
    divergence: WarmStartDivergence | None = None,
) -> dict[str, Tensor]:
    """The terms of eq. 15 by name, each times its weight; beside them ``kl``, where there is a divergence."""
    references = ragar.gallery.rows([request.reference for request in requests])
    states, pictures = ragar.targets(references)[0], ragar.backbone.picture_tokens is not None
    losses = {
        "rank": config.alpha * rank_loss,
        "cal": config.beta * calibrator_loss(ragar, preference),
        "sem": config.gamma * semantic_loss(preference, states, pictures=pictures),
    }
    if divergence is not None:
        losses["kl"] = config.kl * divergence(preference, requests)
    return losses


def gradient_norms(losses: dict[str, Tensor], parameters: Sequence[Tensor]) -> dict[str, float]:
    """Norm of each (weighted) term's gradient: the scale on which alpha, beta and gamma are chosen."""
    norms = {}
    for name, loss in losses.items():
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        norms[name] = float(torch.stack([g.norm() for g in gradients if g is not None]).norm())
    return norms


def _replace(ragar: Ragar, parameters: Sequence[nn.Parameter], average: Sequence[Tensor]) -> None:
    """Put the moving average in place of the last weights."""
    with torch.no_grad():
        for parameter, mean in zip(parameters, average, strict=True):
            parameter.copy_(mean)
    # The mean of vectors of one length is shorter.
    ragar.language.renormalise()
