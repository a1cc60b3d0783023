"""Pictures made and scored (eq. 10): the rivals, noisy preferences, and the preference itself with its gradient."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from generation.pictures import to_float
from generation.ragar.preference import Preference
from generation.ragar.ragar import Ragar
from generation.request import Request
from generation.reward import Mixture, Reward, scored


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
        parts.append(
            torch.stack([scored(reward, chosen, images).to(ragar.text_projection) for images in rivals], dim=1)
        )
    return torch.cat(parts)


@torch.no_grad()
def score_samples(
    ragar: Ragar,
    preference: Preference,
    x: Float[Tensor, "batch samples rows width"],
    requests: Sequence[Request],
    reward: Reward,
    *,
    steps: int,
) -> Float[Tensor, "batch samples"]:
    """Scores of each noisy preference's picture, under the request's own initial latent."""
    samples = x.shape[1]
    scores = []
    for sample in range(samples):
        images = ragar.render(preference.embeds(x[:, sample]), requests, steps=steps)
        scores.append(scored(reward, requests, images).to(x))
    return torch.stack(scores, dim=1)


def path_scores(
    ragar: Ragar,
    preference: Preference,
    requests: Sequence[Request],
    reward: Reward,
    *,
    steps: int,
    checkpointing: bool = False,
) -> Float[Tensor, " batch"]:
    """Scores of each preference's picture, without noise, with the gradient through picture and denoising steps."""
    with ragar.painter.checkpointing(checkpointing):
        images = ragar.render(preference.embeds(), requests, steps=steps, with_grad=True)
    return scored(reward, requests, images).to(preference.detail)


def check_gradient(ragar: Ragar, request: Request, reward: Reward) -> None:
    """See to it that the reward's scores carry the gradient of the pictures, before hours are spent.

    Raises:
        ValueError: they, or those of a part of a mixture, do not. (An encoder that knows that it has none says so.)
    """
    image = to_float(ragar.gallery.images[ragar.gallery.rows([request.reference])]).requires_grad_()
    parts = [part for _, part in reward.parts] if isinstance(reward, Mixture) else [reward]
    if not all(part([request], image).requires_grad for part in parts):
        raise ValueError(
            "objective path needs a reward whose scores carry the gradient of the pictures, and this one's do not: "
            "take a differentiable encoder and the inductive score, or objective reinforce"
        )
