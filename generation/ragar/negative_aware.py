"""L_rank without a likelihood: negative-aware regression on the forward process (Zheng et al. 2025, DiffusionNFT)."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from generation.backbone.forward_process import predict_noisy, visited_timesteps
from generation.pictures import to_float
from generation.ragar.preference import Preference
from generation.ragar.ragar import Ragar
from generation.request import Request

DEVIATIONS = 2.0
"""Advantages of so many of their deviations are the end of the scale: optimality 0 or 1."""


def optimality(advantage: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch samples"]:
    """The probability r with which a picture counts as a good one of its group: 1/2 at advantage 0.

    Args:
        advantage: over the group, in units of the advantages' deviation.
    """
    return (0.5 + 0.5 * advantage / DEVIATIONS).clamp(0, 1)


def negative_aware_loss(
    predicted: Float[Tensor, "n *dims"],
    old: Float[Tensor, "n *dims"],
    target: Float[Tensor, "n *dims"],
    probability: Float[Tensor, " n"],
) -> Float[Tensor, ""]:
    """The squared errors of two implicit policies, r ||v+ - v||^2 + (1 - r) ||v- - v||^2.

    With v+ = v_theta and v- = 2 v_old - v_theta (Zheng et al. 2025, sec. 3, at beta 1: as the old policy is that of the
    same step, another beta would scale the gradient as alpha does).

    The positive policy v+ learns the good pictures, the negative one, its mirror image around the old policy, the bad
    ones: so v_theta comes nearer to good pictures and recedes from bad ones. Its minimum over v_theta is at
    v_old + (2 r - 1) (v - v_old). Mean over dimensions and pictures.

    Args:
        predicted: v_theta, with its gradient.
        old: v_old, of the policy that drew the pictures.
        target: v.
        probability: r of each picture.
    """
    change, error = predicted - old.detach(), target - old.detach()
    r = probability.detach().view(-1, *[1] * (predicted.dim() - 1))
    return (r * (change - error) ** 2 + (1 - r) * (change + error) ** 2).mean()


def forward_loss(
    ragar: Ragar,
    preference: Preference,
    requests: Sequence[Request],
    pictures: Float[Tensor, "batch samples 3 height width"],
    advantage: Float[Tensor, "batch samples"],
    *,
    steps: int,
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    """L_rank of sampled pictures: how the UNet, under the preference itself, should denoise them.

    The policy is the distribution of pictures of a request. DiffusionNFT explores it by the sampler's noise; a backbone
    of one step that edits hardly varies with that, so that here noisy preferences explore it, and the noise-free
    preference is what learns: its pictures come nearer to the good samples and recede from the bad ones. With J the
    derivative of the prediction in the preference, a sample sigma eps away changes the picture by about J sigma eps,
    and the gradient is -(2 r - 1) J^T J sigma eps, up to a scale: REINFORCE's -A eps / sigma, measured in pictures.
    It thus reaches all coordinates of the preference that move a picture, not the noise's basis alone, and LoRA.

    The old policy is that of the same step: v_old is v_theta, detached. Noise and timestep are one for all samples of a
    request, so that what its samples have in common (the codec's error, guidance, what is kept by masks) cancels. The
    loss is in units of the samples' own variance, and so independent of the number of pixels and the noise level.

    Args:
        ragar: whose UNet regresses, with its LoRA where it has any.
        preference: without noise, with its gradient.
        requests: one a preference.
        pictures: drawn from its noisy samples.
        advantage: over the group, in units of the advantages' deviation.
        steps: denoising steps; timesteps are drawn from those that sampling visits.
        generator: of timesteps and noise.
    """
    backbone, (n, samples) = ragar.sampling_backbone, pictures.shape[:2]
    clean = backbone.latents(pictures.flatten(0, 1))
    visited = visited_timesteps(backbone, replace(ragar.config, steps=steps))
    timesteps = visited[torch.randint(len(visited), (n,), generator=generator)]
    # Drawn on the CPU whatever the device: the same seed gives the same noise on every machine.
    noise = torch.randn(n, *clean.shape[1:], generator=generator).to(clean)
    references = to_float(ragar.gallery.images[ragar.gallery.rows([request.reference for request in requests])])
    inputs = (references.to(clean), preference.embeds(), timesteps, noise)
    repeated = [value.repeat_interleave(samples, dim=0) for value in inputs]
    predicted, target = predict_noisy(backbone, clean, *repeated)
    variance = target.unflatten(0, (n, samples)).var(1, correction=0).mean()
    loss = negative_aware_loss(predicted, predicted, target, optimality(advantage).flatten())
    return loss / variance.clamp_min(1e-12)  # 0 where noise moves no picture, and nothing is to be learned
