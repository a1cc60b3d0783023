"""The reward phase: training with the ranker's reward (eq. 10-15)."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from generation.ragar.exploration import build_policy
from generation.ragar.losses import calibrator_loss, semantic_loss
from generation.ragar.policy import RunningScale
from generation.ragar.ragar import Ragar
from generation.ragar.rank_term import path_term, policy_term
from generation.ragar.reflection_config import ReflectionConfig
from generation.ragar.scoring import check_gradient, rival_scores
from generation.ragar.warm_start import ReflectionLog
from generation.request import Request
from generation.reward import Reward
from generation.training import batches, follow, one_cycle


def reflect(
    ragar: Ragar,
    requests: Sequence[Request],
    reward: Reward,
    config: ReflectionConfig,
    log: ReflectionLog,
    *,
    progress: bool = True,
) -> None:
    """The reward phase: L = alpha L_rank + beta L_cal + gamma L_sem (eq. 15), on every trained part together.

    Pictures are made and scored without gradient; all samples of a request share its initial latent noise. Under
    ``path`` there is one picture a request, without noise, and L_rank is minus its reward, not divided by a scale.
    With ``lora_rank`` the generator gets LoRA, which L_rank alone reaches. With ``kl``, a fourth term holds the
    preference near the warm start's. With ``ema``, what remains is the moving average of the trained parts, its [IMG]
    rows at their length again. The reward is only called, never changed.

    Raises:
        ValueError: fewer than two requests, ``path`` with a reward that has no gradient, a reward that is not one
            finite number a picture, or ``lora_rank`` for a generator that has LoRA already.
    """
    if len(requests) < 2:
        raise ValueError(f"reflection needs at least 2 requests, got {len(requests)}")
    generator = torch.Generator().manual_seed(config.seed + 1)
    policy = build_policy(ragar, requests, config) if config.objective != "path" or config.kl else None
    if config.objective == "path":
        check_gradient(ragar, requests[0], reward)
    rivals = rival_scores(ragar, requests, reward, steps=config.steps, progress=progress)  # (requests, 2)
    start = frozen_copy(ragar) if config.kl else None
    if config.lora_rank:
        ragar.add_lora(config.lora_rank, torch.Generator().manual_seed(config.seed + 2))
    parts = ragar.trained_parts()
    optimizer = torch.optim.Adam(parts.values(), lr=config.learning_rate)
    schedule = one_cycle(optimizer, config.reward_steps)
    average = [part.detach().clone() for part in parts.values()]
    scale = RunningScale()
    steps = batches(len(requests), config.batch_size, config.reward_steps, generator)
    for step, picked in enumerate(
        tqdm(steps, total=config.reward_steps, desc="reward training", unit="step", disable=not progress)
    ):
        chosen = [requests[i] for i in picked.tolist()]
        preference = ragar.encode_preference(chosen)
        if policy is None or config.objective == "path":
            scores, rank, without_signal = path_term(ragar, preference, chosen, reward, rivals[picked], config)
        else:
            scores, rank, without_signal = policy_term(
                ragar, preference, chosen, reward, rivals[picked], config, policy, scale, generator
            )
        losses = {
            "rank": config.alpha * rank,
            "cal": config.beta * calibrator_loss(ragar, preference),
            "sem": config.gamma * semantic_loss(preference, ragar.reference_states(chosen)),
        }
        if start is not None and policy is not None:
            with torch.no_grad():
                before = start.encode_preference(chosen).detail
            losses["kl"] = config.kl * policy.divergence(preference.detail, before).mean()
        optimizer.zero_grad()
        if step % 10 == 0:
            for name, norm in gradient_norms(losses, list(parts.values())).items():
                log.curves.add(f"gradient norm: {name}", step, norm)
        sum(losses.values(), torch.zeros(())).backward()
        nn.utils.clip_grad_norm_(parts.values(), 1.0)
        optimizer.step()
        schedule.step()
        ragar.language.renormalise()
        if config.ema:
            follow(average, parts.values(), step, config.ema)
        log.groups += len(chosen)
        log.silent_groups += int(without_signal.sum())
        log.curves.add("reward: score of v_gen", step, scores.mean().item())
        log.curves.add("reward: over the reference", step, (scores - rivals[picked][:, :1]).mean().item())
        log.curves.add("groups: share without signal", step, without_signal.float().mean().item())
    if config.ema:
        with torch.no_grad():
            for part, kept in zip(parts.values(), average, strict=True):
                part.copy_(kept)
        ragar.language.renormalise()


def frozen_copy(ragar: Ragar) -> Ragar:
    """The generator as it is now, to compare with: trained parts copied, everything frozen shared."""
    shared = (ragar.backbone, ragar.gallery, ragar.language.model, ragar.language.tokenizer, *ragar.painter.frozen)
    return copy.deepcopy(ragar, {id(part): part for part in shared})


def gradient_norms(losses: dict[str, Tensor], parameters: Sequence[Tensor]) -> dict[str, float]:
    """Norm of each (weighted) term's gradient: the scale on which alpha, beta and gamma are chosen."""
    norms = {}
    for name, loss in losses.items():
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        norms[name] = float(torch.stack([g.norm() for g in gradients if g is not None]).norm())
    return norms
