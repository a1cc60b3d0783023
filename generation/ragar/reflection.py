"""Reflection: warm start, then training with the ranker's reward (eq. 10-15)."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from tqdm.auto import tqdm

from generation.ragar.policy import (
    GaussianPolicy,
    NoiseMode,
    Objective,
    RunningScale,
    leave_one_out,
    paired,
    rank_loss,
    rewards,
    silent,
)
from generation.ragar.ragar import Preference, Ragar
from generation.ragar.scoring import check_gradient, path_scores, rival_scores, score_samples
from generation.request import Request
from generation.reward import Reward, reward_conflicts
from generation.training import Curves, batches, follow, one_cycle


@dataclass(frozen=True)
class ReflectionConfig:
    """How the generator is trained."""

    warm_start_steps: int = 200
    """Supervised steps before any reward."""
    warm_start_learning_rate: float = 2e-3
    """Of the warm start."""
    reward_steps: int = 100
    """Steps of the reward phase."""
    batch_size: int = 16
    """Requests a step."""
    steps: int = 3
    """Denoising steps of the pictures that are scored: fewer than at the end, so that the budget buys more of them."""
    samples: int = 4
    """r, the noisy preferences a request (the paper: 3, its ablation: 5)."""
    noise: NoiseMode = "low_rank"
    """Where the noise lives."""
    rank: int = 8
    """Directions of ``low_rank``: principal components of the warm-start preference over users."""
    sigma: float = 1.0
    """Standard deviation of the noise, in units of the warm-start preference's own deviation along the directions."""
    margin: float = 0.5
    """delta of eq. 11, in standard deviations of the user's scores."""
    antithetic: bool = True
    """``reinforce``: draw the samples in pairs of mirror images (eq. 12), an even number; if not, each is compared with
    the mean of the others (leave-one-out)."""
    objective: Objective = "reinforce"
    """``reinforce``: eq. 11-12 with the sign, sample and baseline put right, for any reward. ``path``: the gradient of
    the same reward through codec, UNet and every denoising step, without noise, for rewards that have one; 2 to 4
    ``steps`` are enough. ``paper_literal``: eq. 11-12 as printed, for the ablation."""
    lora_rank: int = 0
    """``path``: rank of LoRA on the UNet's attention, trained with the rest and used for v_gen alone; 0 is none. It
    stands here, not in the section ``generator``: the warm start does without, and a saved generator knows its own."""
    checkpointing: bool = False
    """``path``: compute the UNet's blocks again in the backward pass instead of keeping what they hold."""
    alpha: float = 0.2
    """Weight of L_rank (eq. 15)."""
    beta: float = 0.5
    """Weight of L_cal (eq. 15)."""
    gamma: float = 0.3
    """Weight of L_sem (eq. 15)."""
    kl: float = 0.0
    """Weight of the divergence from the warm-start preference, ||mu - mu_0||^2 / (2 sigma^2) (beside eq. 15)."""
    ema: float = 0.0
    """Highest decay of a moving average of the trained parts over the reward phase, kept in place of the last ones; it
    begins lower, at min(``ema``, (1 + step) / (15 + step)). 0 keeps none."""
    rewards: dict[str, float] = field(default_factory=lambda: {"ranker": 1.0})
    """What is rewarded (eq. 10), with weights; a negative one punishes. ``ranker``: in standard deviations of the
    user's scores. ``relevance``: the dual encoder's cosine with the reference's caption, which moves by tenths.
    ``aesthetic``: see ``aesthetic_head``. ``package.module:name`` of your own: called with (encoder, gallery), it gives
    back a ``generation.reward.Reward``."""
    aesthetic_head: str | None = None
    """A safetensors file with the ``weight`` and ``bias`` of a linear head on the dual encoder's features, such as
    LAION's aesthetic predictor on those of CLIP ViT-L/14."""
    learning_rate: float = 1e-3
    """Of the reward phase (the paper's 1e-5 is for models a thousand times larger)."""
    held_out: float = 0.2
    """Share of people kept from generator training for judging it (and half as many for validation)."""
    seed: int = 0
    """Of batches, noise and the people held out."""

    @property
    def in_pairs(self) -> bool:
        """Whether samples are drawn as mirror images: ``antithetic``, where the objective has a use for it."""
        return self.antithetic and self.objective == "reinforce"

    def conflicts(self) -> Iterator[str]:
        """Settings that cannot be run, each as a sentence."""
        if self.in_pairs and self.samples % 2:
            yield f"samples {self.samples} must be even, as they come in pairs; antithetic: false takes any from 2 on"
        elif self.objective == "reinforce" and self.samples < 2:
            yield f"samples {self.samples}: the leave-one-out baseline needs at least 2"
        if self.checkpointing and self.objective != "path":
            yield f"checkpointing belongs to objective path: {self.objective} keeps nothing of the UNet"
        if self.lora_rank > 0 and self.objective != "path":
            yield f"lora_rank {self.lora_rank} belongs to objective path: {self.objective} has no gradient for the UNet"
        if not 0 < self.held_out < 0.6:
            yield f"held_out {self.held_out} must lie between 0 and 0.6"
        if not 0 <= self.ema < 1:
            yield f"ema {self.ema} must be at least 0 and below 1"
        for name in ("sigma", "learning_rate", "warm_start_learning_rate"):
            if getattr(self, name) <= 0:
                yield f"{name} {getattr(self, name)} must be positive"
        for name in ("alpha", "beta", "gamma", "kl", "margin", "lora_rank", "seed"):
            if getattr(self, name) < 0:
                yield f"{name} {getattr(self, name)} must not be negative"
        for name in ("warm_start_steps", "reward_steps", "steps", "samples", "batch_size", "rank"):
            if getattr(self, name) < 1:
                yield f"{name} must be at least 1, got {getattr(self, name)}"
        yield from reward_conflicts(self.rewards, self.aesthetic_head)


@dataclass
class ReflectionLog:
    """What the training did: curves, and how many groups gave no signal."""

    curves: Curves = field(default_factory=Curves)
    silent_groups: int = 0
    groups: int = 0


def calibrator_loss(ragar: Ragar, preference: Preference) -> Float[Tensor, ""]:
    """L_cal (eq. 13): P_gen against P_ret, compared in the dual encoder's joint space.

    The paper subtracts a pooled vector from a sequence. Here the non-frozen rows are mean-pooled and go through the
    dual encoder's own text projection (a trained one could cheat, a random one means nothing); both sides are
    normalised; no gradient into P_ret. Mean over dimensions.
    """
    pooled = preference.detail.mean(1) @ ragar.text_projection
    return F.mse_loss(F.normalize(pooled, dim=-1), F.normalize(preference.retrieved, dim=-1).detach())


def semantic_loss(preference: Preference, states: Float[Tensor, "batch context width"]) -> Float[Tensor, ""]:
    """L_sem (eq. 14): E_d against the text encoder's states of the reference's caption.

    The mapper's rows are as many as the states and are compared row by row, the projected prompt rows as a mean.
    E_d is the calibrator's input, so this term reaches mapper, [IMG] rows and projection, not the calibrator.
    """
    return F.mse_loss(preference.mapped, states) + F.mse_loss(preference.text.mean(1), states.mean(1))


def warm_start(ragar: Ragar, config: ReflectionConfig, log: ReflectionLog, *, progress: bool = True) -> None:
    """Teach the mapper to put a picture's feature into the text encoder's words, as GILL aligns its own.

    Every item of the gallery is its own retrieved item: the prompt holds the caption in half of the cases and nothing
    else, P_ret is the item's own feature, the target are the caption's states. What comes out later for a history is a
    mixture of what its pictures look like and of the reference's words.
    """
    gallery = ragar.gallery
    generator = torch.Generator().manual_seed(config.seed)
    rows = gallery.pictured.nonzero()[:, 0]
    parameters = [p for name, p in ragar.trained_parts().items() if not name.startswith("calibrator")]
    optimizer = torch.optim.AdamW(parameters, lr=config.warm_start_learning_rate)
    schedule = one_cycle(optimizer, config.warm_start_steps)
    steps = batches(len(rows), 32, config.warm_start_steps, generator)
    for step, picked in enumerate(
        tqdm(steps, total=config.warm_start_steps, desc="warm start", unit="step", disable=not progress)
    ):
        chosen = rows[picked]
        captions = [gallery.captions[r] for r in chosen.tolist()]
        told = (torch.rand(len(chosen), generator=generator) < 0.5).tolist()
        text_states, image_states = ragar.language(
            [ragar.prompt((), caption if tell else "") for caption, tell in zip(captions, told, strict=True)]
        )
        mapped = ragar.mapper(image_states, ragar.centred(chosen).to(image_states))
        states = ragar.backbone.states(captions)
        loss = F.mse_loss(mapped, states) + F.mse_loss(ragar.project_text(text_states).mean(1), states.mean(1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        ragar.language.renormalise()
        if step % 10 == 0:
            log.curves.add("warm start: distance to the caption's states", step, loss.item())


def principal_directions(
    ragar: Ragar, requests: Sequence[Request], rank: int
) -> tuple[Float[Tensor, "rank dims"], float]:
    """Orthonormal principal components of the warm-start preference's detail rows over users, and their mean deviation.

    A random low-rank basis is worse than none: it mostly points where pictures do not change.
    """
    with torch.no_grad():
        rows = torch.cat(
            [ragar.encode_preference(requests[i : i + 32]).detail.flatten(1) for i in range(0, len(requests), 32)]
        )
    rank = min(rank, len(rows) - 1)
    _, values, vectors = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
    return vectors[:rank].contiguous(), float((values[:rank] ** 2 / len(rows)).mean().sqrt())


def build_policy(ragar: Ragar, requests: Sequence[Request], config: ReflectionConfig) -> GaussianPolicy:
    """The noise of the reward phase around the preference's detail rows; E_g is frozen and carries none."""
    basis, deviation = principal_directions(ragar, requests[:512], config.rank)
    rows, width = ragar.backbone.context + ragar.config.text_rows, ragar.backbone.width
    return GaussianPolicy(
        config.noise, rows, width, config.sigma * deviation, basis if config.noise == "low_rank" else None
    )


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
