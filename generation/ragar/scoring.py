"""Eq. 10: scores of v_ref and v_glob, of the samples' pictures, and of v_gen with its gradient."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from generation.pictures import to_float
from generation.ragar.preference import Preference
from generation.ragar.ragar import Ragar
from generation.request import Request
from generation.reward import Reward, checked_scores, parts_of

BATCH_SIZE = 64
"""Requests whose v_ref and v_glob are drawn and scored at a time."""


@torch.no_grad()
def rival_scores(
    ragar: Ragar, requests: Sequence[Request], reward: Reward, *, steps: int, progress: bool = True
) -> Float[Tensor, "requests 2"]:
    """Scores of v_ref and v_glob, in this order. They do not change while RAGAR trains: computed once."""
    scores = []
    starts = range(0, len(requests), BATCH_SIZE)
    for start in tqdm(starts, desc="v_ref and v_glob", unit="batch", disable=not progress):
        batch = requests[start : start + BATCH_SIZE]
        v_ref = to_float(ragar.gallery.images[ragar.gallery.rows([request.reference for request in batch])])
        v_glob = ragar.generate_global(batch, steps=steps)
        columns = [checked_scores(reward, batch, images).to(ragar.text_projection) for images in (v_ref, v_glob)]
        scores.append(torch.stack(columns, dim=1))
    return torch.cat(scores)


@torch.no_grad()
def score_samples(
    ragar: Ragar,
    preference: Preference,
    samples: Float[Tensor, "batch samples rows width"],
    requests: Sequence[Request],
    reward: Reward,
    *,
    steps: int,
) -> tuple[Float[Tensor, "batch samples"], Float[Tensor, "batch samples 3 height width"]]:
    """Scores of the picture of each sampled (noisy) preference, and the pictures.

    All samples of a request share its initial latent (common random numbers), so that their scores differ by the
    preference alone.
    """
    scores, pictures = [], []
    for sample in samples.unbind(1):
        pictures.append(ragar.render(preference.embeds(sample), requests, steps=steps))
        scores.append(checked_scores(reward, requests, pictures[-1]).to(samples))
    return torch.stack(scores, dim=1), torch.stack(pictures, dim=1)


def path_scores(
    ragar: Ragar,
    preference: Preference,
    requests: Sequence[Request],
    reward: Reward,
    *,
    steps: int,
    checkpointing: bool = False,
) -> Float[Tensor, " batch"]:
    """Scores of v_gen, without noise, with the gradient through picture and denoising steps."""
    with ragar.sampling_backbone.checkpointing(checkpointing):
        images = ragar.render(preference.embeds(), requests, steps=steps, with_grad=True)
    return checked_scores(reward, requests, images).to(preference.detail)


def check_gradient(ragar: Ragar, request: Request, reward: Reward) -> None:
    """Check that the reward's scores carry the gradient of the pictures, before hours are spent.

    Raises:
        ValueError: they do not, or those of a part of a mixture. (An encoder without gradient raises an error itself.)
    """
    image = to_float(ragar.gallery.images[ragar.gallery.rows([request.reference])]).requires_grad_()
    # Each part alone: in their sum a part without gradient would go unnoticed.
    if not all(each([request], image).requires_grad for each in parts_of(reward)):
        raise ValueError(
            "objective path needs a reward whose scores carry the gradient of the pictures, and this one's do not: "
            "take a differentiable encoder and the inductive score, or objective reinforce"
        )
