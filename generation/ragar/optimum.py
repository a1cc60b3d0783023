"""What the generator could draw for a request: its preference rows optimised for the reward by the exact gradient.

The trained networks are left out of it: the condition that they hand to the backbone is moved itself. What remains is
what backbone, strength and steps can draw, whatever the networks might learn.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from generation.ragar.preference import Preference
from generation.ragar.ragar import Ragar
from generation.request import Request
from generation.reward import Reward, checked_scores

BATCH_SIZE = 16
"""Requests that are optimised at a time; each has rows of its own, so that the batch changes nothing but the speed."""

STEP_SIZE = 0.1
"""Adam's learning rate, in units of the root mean square of the request's own rows."""


def optimised_pictures(
    ragar: Ragar,
    requests: Sequence[Request],
    reward: Reward,
    *,
    steps: int = 25,
    checkpointing: bool = False,
    progress: bool = True,
) -> Float[Tensor, "n 3 height width"]:
    """Draw each request's best picture on the way of Adam from the generator's own preference rows to higher rewards.

    The gradient goes through picture, codec and every denoising step, at the generator's own strength and number of
    steps. The best of the ``steps + 1`` pictures is kept, the first of which is v_gen: no request does worse by the
    reward than under the generator as it is. Nothing of the generator changes.

    Args:
        ragar: the generator.
        requests: each optimised on its own.
        reward: its scores must carry the gradient of the pictures, see
            :func:`generation.ragar.scoring.check_gradient`.
        steps: of Adam.
        checkpointing: compute the UNet's blocks again in the backward pass instead of keeping what they hold.
        progress: show a bar.

    Raises:
        ValueError: there is no request, or the reward is not one finite number a picture.
    """
    if not requests:
        raise ValueError("optimised pictures need at least one request, got 0")
    starts = range(0, len(requests), BATCH_SIZE)
    bar = tqdm(total=len(starts) * (steps + 1), desc="optimised pictures", unit="step", disable=not progress)
    with bar, ragar.sampling_backbone.checkpointing(checkpointing):
        parts = [_optimised(ragar, requests[start : start + BATCH_SIZE], reward, steps, bar) for start in starts]
    return torch.cat(parts)


def _optimised(
    ragar: Ragar, requests: Sequence[Request], reward: Reward, steps: int, bar: tqdm
) -> Float[Tensor, "n 3 height width"]:
    """One batch: the sum of the requests' scores has for each request's rows the gradient of its own score."""
    with torch.no_grad():
        preference = ragar.encode_preference(requests)
    size = preference.detail.square().mean((1, 2), keepdim=True).sqrt()  # (B, 1, 1)
    # Adam's steps have about the size of its learning rate in every coordinate: in units of `size` one rate serves all.
    move = torch.zeros_like(preference.detail, requires_grad=True)
    optimizer = torch.optim.Adam([move], lr=STEP_SIZE)
    images, scores = _drawn(ragar, preference, preference.detail + size * move, requests, reward)
    best, highest = images.detach().cpu(), scores.detach()
    for _ in range(steps):
        # Not backward(): the generator's own parameters, LoRA among them, must get no gradient.
        (move.grad,) = torch.autograd.grad(-scores.sum(), [move])
        optimizer.step()
        images, scores = _drawn(ragar, preference, preference.detail + size * move, requests, reward)
        better = scores.detach() > highest
        best = torch.where(better.cpu()[:, None, None, None], images.detach().cpu(), best)
        highest = torch.where(better, scores.detach(), highest)
        bar.update()
    bar.update()
    return best


def _drawn(
    ragar: Ragar, preference: Preference, detail: Tensor, requests: Sequence[Request], reward: Reward
) -> tuple[Float[Tensor, "n 3 height width"], Float[Tensor, " n"]]:
    """Pictures of these preference rows and their scores, with the gradient."""
    images = ragar.render(preference.embeds(detail), requests, with_grad=True)
    return images, checked_scores(reward, requests, images).to(detail)
