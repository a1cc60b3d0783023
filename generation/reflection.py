"""Reflection: warm start, then training with the ranker's reward (eq. 10-15)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from tqdm.auto import tqdm

from generation.pictures import to_float
from generation.policy import (
    GaussianPolicy,
    NoiseMode,
    Objective,
    RunningScale,
    leave_one_out,
    rank_loss,
    rewards,
    silent,
)
from generation.pretrain import Curves, batches, one_cycle
from generation.ragar import Preference, Ragar
from generation.request import Request
from generation.reward import Reward


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
    objective: Objective = "reinforce"
    """``paper_literal`` is eq. 11-12 as printed, for the ablation."""
    alpha: float = 0.2
    """Weight of L_rank (eq. 15)."""
    beta: float = 0.5
    """Weight of L_cal (eq. 15)."""
    gamma: float = 0.3
    """Weight of L_sem (eq. 15)."""
    learning_rate: float = 1e-3
    """Of the reward phase (the paper's 1e-5 is for models a thousand times larger)."""
    held_out: float = 0.2
    """Share of people kept from generator training for judging it (and half as many for validation)."""
    seed: int = 0
    """Of batches, noise and the people held out."""

    def conflicts(self) -> Iterator[str]:
        """Settings that cannot be run, each as a sentence."""
        if self.samples < 2:
            yield f"samples {self.samples}: the leave-one-out baseline needs at least 2"
        if not 0 < self.held_out < 0.6:
            yield f"held_out {self.held_out} must lie between 0 and 0.6"
        for name in ("sigma", "learning_rate", "warm_start_learning_rate"):
            if getattr(self, name) <= 0:
                yield f"{name} {getattr(self, name)} must be positive"
        for name in ("alpha", "beta", "gamma", "margin", "seed"):
            if getattr(self, name) < 0:
                yield f"{name} {getattr(self, name)} must not be negative"
        for name in ("warm_start_steps", "reward_steps", "steps", "batch_size", "rank"):
            if getattr(self, name) < 1:
                yield f"{name} must be at least 1, got {getattr(self, name)}"


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
        mapped = ragar.mapper(image_states, ragar.centred(chosen))
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
    ragar: Ragar, requests: Sequence[Request], reward: Reward, config: ReflectionConfig, log: ReflectionLog, *,
    progress: bool = True,
) -> None:  # fmt: skip
    """The reward phase: L = alpha L_rank + beta L_cal + gamma L_sem (eq. 15), on every trained part together.

    Pictures are made and scored without gradient; all samples of a request share its initial latent noise. The reward
    is only called, never changed.
    """
    generator = torch.Generator().manual_seed(config.seed + 1)
    policy = build_policy(ragar, requests, config)
    rivals = rival_scores(ragar, requests, reward, steps=config.steps, progress=progress)  # (requests, 2)
    parts = ragar.trained_parts()
    optimizer = torch.optim.Adam(parts.values(), lr=config.learning_rate)
    schedule = one_cycle(optimizer, config.reward_steps)
    scale = RunningScale()
    steps = batches(len(requests), config.batch_size, config.reward_steps, generator)
    for step, picked in enumerate(
        tqdm(steps, total=config.reward_steps, desc="reward training", unit="step", disable=not progress)
    ):
        chosen = [requests[i] for i in picked.tolist()]
        preference = ragar.encode_preference(chosen)
        x = policy.sample(preference.detail, config.samples, generator)
        scores = score_samples(ragar, preference, x, chosen, reward, steps=config.steps)
        if config.objective == "paper_literal":
            advantage = (rivals[picked][:, None] - scores[..., None]).clamp_min(0).sum(-1) + config.margin
        else:
            gained = rewards(scores, rivals[picked], config.margin)
            advantage = leave_one_out(gained)
            log.silent_groups += int(silent(gained).sum())
        log.groups += len(chosen)
        losses = {
            "rank": config.alpha * rank_loss(policy, preference.detail, x, advantage / scale.value()),
            "cal": config.beta * calibrator_loss(ragar, preference),
            "sem": config.gamma * semantic_loss(preference, ragar.reference_states(chosen)),
        }
        scale.update(advantage)
        optimizer.zero_grad()
        if step % 10 == 0:
            for name, norm in gradient_norms(losses, list(parts.values())).items():
                log.curves.add(f"gradient norm: {name}", step, norm)
        sum(losses.values(), torch.zeros(())).backward()
        nn.utils.clip_grad_norm_(parts.values(), 1.0)
        optimizer.step()
        schedule.step()
        ragar.language.renormalise()
        log.curves.add("reward: score of v_gen", step, scores.mean().item())
        log.curves.add("reward: over the reference", step, (scores - rivals[picked][:, :1]).mean().item())


@torch.no_grad()
def rival_scores(
    ragar: Ragar, requests: Sequence[Request], reward: Reward, *, steps: int, progress: bool = True
) -> Float[Tensor, "requests 2"]:
    """Scores of v_ref and v_glob, which do not change while training: once."""
    parts = []
    for i in tqdm(range(0, len(requests), 64), desc="v_ref and v_glob", unit="batch", disable=not progress):
        chosen = requests[i : i + 64]
        references = to_float(ragar.gallery.images[ragar.gallery.rows([request.reference for request in chosen])])
        rivals = (references, ragar.generate_global(chosen, steps=steps))
        parts.append(torch.stack([finite(reward(chosen, images)) for images in rivals], dim=1))
    return torch.cat(parts)


@torch.no_grad()
def score_samples(
    ragar: Ragar, preference: Preference, x: Float[Tensor, "batch samples rows width"], requests: Sequence[Request],
    reward: Reward, *, steps: int,
) -> Float[Tensor, "batch samples"]:  # fmt: skip
    """Scores of each noisy preference's picture, under the request's own initial latent."""
    samples = x.shape[1]
    scores = []
    for sample in range(samples):
        images = ragar.render(preference.embeds(x[:, sample]), requests, steps=steps)
        scores.append(finite(reward(requests, images)))
    return torch.stack(scores, dim=1)


def finite(scores: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The reward's answer as it is.

    Raises:
        ValueError: it holds infinities or NaN, which would spoil every weight.
    """
    if bad := int((~torch.isfinite(scores)).sum()):
        raise ValueError(f"the reward gave {bad} values that are not finite numbers")
    return scores


def gradient_norms(losses: dict[str, Tensor], parameters: Sequence[Tensor]) -> dict[str, float]:
    """Norm of each (weighted) term's gradient: the scale on which alpha, beta and gamma are chosen."""
    norms = {}
    for name, loss in losses.items():
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        norms[name] = float(torch.stack([g.norm() for g in gradients if g is not None]).norm())
    return norms
