"""Training-time corruptions of pictures: shifts, noise, another picture's palette, light and background."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def augment(images: Float[Tensor, "n 3 height width"], generator: torch.Generator) -> Tensor:
    """Shift by up to 4 pixels and add a little noise: a generated picture is never pixel-exact.

    One shift and one strength of noise (a deviation of up to .03) for the whole batch.
    """
    dy, dx = torch.randint(-4, 5, (2,), generator=generator).tolist()
    noise = 0.03 * torch.rand((), generator=generator) * torch.randn(images.shape, generator=generator)
    return (torch.roll(images, (dy, dx), dims=(-2, -1)) + noise).clamp(0, 1)


def squared(images: Float[Tensor, "n 3 height width"], multiple: int) -> Float[Tensor, "n 3 side side"]:
    """The pictures pressed into a square of about their area, whose side is a multiple of a number of pixels."""
    height, width = images.shape[-2:]
    side = max(1, round((height * width) ** 0.5 / multiple)) * multiple
    return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)


def recolour(
    images: Float[Tensor, "n 3 height width"], others: Float[Tensor, "n 3 height width"], generator: torch.Generator
) -> Float[Tensor, "n 3 height width"]:
    """Carry over another picture's palette, the means and deviations of its channels, by a random share.

    With probability one half the channels are permuted first. Pictures in [-1, 1].
    """
    # Every picture is permuted and then half of them chosen: the number of draws does not depend on their outcome.
    permuted = torch.stack([image[torch.randperm(3, generator=generator)] for image in images])
    permute = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
    source = torch.where(permute, permuted, images)
    # 1e-3: pictures of one colour have deviation 0
    mean, std = source.mean((2, 3), keepdim=True), source.std((2, 3), keepdim=True) + 1e-3
    to_mean, to_std = others.mean((2, 3), keepdim=True), others.std((2, 3), keepdim=True)
    share = torch.rand(len(images), 1, 1, 1, generator=generator)
    return source.lerp((source - mean) / std * to_std + to_mean, share).clamp(-1, 1)


ELSEWHERE = 0.3
"""Share of references with a region of another picture's colours, where a background was exchanged."""
SAME = 0.35
"""Share of references that are the picture itself: where nothing needs to change, nothing should."""


def relit(images: Float[Tensor, "n 3 height width"], generator: torch.Generator) -> Float[Tensor, "n 3 height width"]:
    """Other contrast, brightness, saturation, and a coloured light from one side, each in about half of the pictures.

    Pictures in [-1, 1].
    """
    n = len(images)

    def drawn(low: float, high: float, *shape: int) -> Tensor:
        """Uniform in half of the pictures, the value that changes nothing in the others."""
        values = low + (high - low) * torch.rand(n, *shape, 1, 1, generator=generator)
        neutral = 1.0 if low > 0 or high > 1 else 0.0
        return torch.where(torch.rand(n, 1, 1, 1, generator=generator) < 0.5, values.view(n, -1, 1, 1), neutral)

    relit = images * drawn(0.5, 1.6, 1) + drawn(-0.3, 0.3, 1)
    grey = relit.mean(1, keepdim=True)
    relit = grey + (relit - grey) * drawn(0.0, 1.8, 1)
    height, width = images.shape[-2:]
    y, x = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)[None]
    angle = 2 * torch.pi * torch.rand(n, 1, 1, 1, generator=generator)
    return (relit + drawn(-0.5, 0.5, 3) * (angle.cos() * x + angle.sin() * y)).clamp(-1, 1)


def background_replaced(
    images: Float[Tensor, "n 3 height width"], others: Float[Tensor, "n 3 height width"], generator: torch.Generator
) -> Float[Tensor, "n 3 height width"]:
    """A region with soft edges, of about half of the picture, shows another picture out of focus.

    Out of focus is six places of colour, so that no shapes of the other picture come in.
    """
    size = images.shape[-2:]
    field = F.interpolate(torch.randn(len(images), 1, 5, 4, generator=generator), size, mode="bicubic")
    region = torch.sigmoid(8 * field)  # from one side to the other within a few pixels
    ground = F.interpolate(F.adaptive_avg_pool2d(others, (3, 2)), size, mode="bilinear")
    return images.lerp(ground, region)


def as_reference(
    images: Float[Tensor, "n 3 height width"], others: Float[Tensor, "n 3 height width"], generator: torch.Generator
) -> Float[Tensor, "n 3 height width"]:
    """The picture in other colours and light or on another ground, as the reference from which it is to be found again.

    About a third are left as they are, see :data:`SAME`. Pictures in [-1, 1].
    """
    changed = relit(recolour(images, others, generator), generator)
    replaced = background_replaced(changed, others, generator)
    changed = torch.where(torch.rand(len(images), 1, 1, 1, generator=generator) < ELSEWHERE, replaced, changed)
    return torch.where(torch.rand(len(images), 1, 1, 1, generator=generator) < SAME, images, changed)
