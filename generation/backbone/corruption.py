"""Training-time corruptions of pictures: shifts, noise, another picture's palette."""

import torch
from jaxtyping import Float
from torch import Tensor


def augment(images: Float[Tensor, "n 3 height width"], generator: torch.Generator) -> Tensor:
    """Shifts by up to 4 pixels and a little noise: a generated picture is never pixel-exact."""
    dy, dx = torch.randint(-4, 5, (2,), generator=generator).tolist()
    noise = 0.03 * torch.rand((), generator=generator) * torch.randn(images.shape, generator=generator)
    return (torch.roll(images, (dy, dx), dims=(-2, -1)) + noise).clamp(0, 1)


def recolour(
    images: Float[Tensor, "n 3 height width"], others: Float[Tensor, "n 3 height width"], generator: torch.Generator
) -> Float[Tensor, "n 3 height width"]:
    """Each picture in (a random share of) another's palette: channels' means and deviations are carried over.

    With probability one half the channels are permuted first. Pictures in [-1, 1].
    """
    permuted = torch.stack([image[torch.randperm(3, generator=generator)] for image in images])
    flip = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
    source = torch.where(flip, permuted, images)
    mean, std = source.mean((2, 3), keepdim=True), source.std((2, 3), keepdim=True) + 1e-3
    to_mean, to_std = others.mean((2, 3), keepdim=True), others.std((2, 3), keepdim=True)
    share = torch.rand(len(images), 1, 1, 1, generator=generator)
    return source.lerp((source - mean) / std * to_std + to_mean, share).clamp(-1, 1)
