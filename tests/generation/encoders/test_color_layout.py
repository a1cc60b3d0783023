"""The Color Layout Descriptor: a plain colour, a ramp, sizes and gradients, worked out by hand."""

import math

import pytest
import torch
from torch import Tensor

from generation.encoders.color_layout import ColorLayoutEncoder
from generation.encoders.encoder import ImageEncoder

CHROMA = (6, 9)
"""Where blue and red difference begin."""


@pytest.fixture
def encoder() -> ColorLayoutEncoder:
    return ColorLayoutEncoder()


def plain(*rgb: float, size: tuple[int, int] = (96, 64)) -> Tensor:
    return torch.tensor(rgb).view(1, 3, 1, 1).expand(1, 3, *size).contiguous()


def test_a_plain_picture_has_no_frequency_but_the_first(encoder: ColorLayoutEncoder) -> None:
    """Of an 8 x 8 grid of one value the orthonormal transform's first number is 8 times it; red has Cr 1/2."""
    found = encoder.encode_images(plain(1.0, 0.0, 0.0))
    expected = torch.zeros(1, 12)
    expected[0, 0], expected[0, CHROMA[0]], expected[0, CHROMA[1]] = 8 * 0.299, -8 * 0.168736, 4.0
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    grey = encoder.encode_images(plain(0.25, 0.25, 0.25))
    torch.testing.assert_close(grey[0], torch.tensor([2.0] + [0.0] * 11), atol=1e-5, rtol=0)


def test_light_from_above_is_the_first_vertical_frequency(encoder: ColorLayoutEncoder) -> None:
    """White above, black below: 8 sqrt(2/8) / sqrt(8) times the cosines of the four upper fields, twice."""
    picture = torch.zeros(1, 3, 80, 40)
    picture[:, :, :40] = 1
    cosines = sum(math.cos(math.pi * (2 * field + 1) / 16) for field in range(4))
    found = encoder.encode_images(picture)[0]
    # by vertical frequency, then horizontal: (0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0)
    torch.testing.assert_close(found[:6], torch.tensor([4, 0, 0, math.sqrt(8) / 2 * cosines, 0, 0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(found[6:], torch.zeros(6), atol=1e-5, rtol=0)


def test_it_is_linear_with_an_exact_gradient_and_sees_any_size(
    encoder: ColorLayoutEncoder, rng: torch.Generator
) -> None:
    small = torch.rand(2, 3, 48, 32, generator=rng, dtype=torch.float64)
    large = small.repeat_interleave(3, 2).repeat_interleave(3, 3)
    torch.testing.assert_close(encoder.encode_images(large), encoder.encode_images(small))
    mixed = encoder.encode_images(0.3 * small[:1] + 0.7 * small[1:])
    torch.testing.assert_close(mixed[0], torch.tensor([0.3, 0.7], dtype=torch.float64) @ encoder.encode_images(small))
    assert torch.autograd.gradcheck(encoder.encode_images, (small[:, :, :9, :5].clone().requires_grad_(),))
    assert isinstance(encoder, ImageEncoder)
    assert encoder.encode_images(torch.empty(0, 3, 96, 64)).shape == (0, encoder.dim)
