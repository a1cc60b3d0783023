"""HOG and colour histograms: bins, weights and invariances."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from generation.encoders.encoder import ImageEncoder, encode_in_blocks
from generation.encoders.hog import COLOURS, HogEncoder

EDGES = 3 * 3 * 2 * 2 * 9
HALF = math.sqrt(0.5)


def uniform(*rgb: float, size: tuple[int, int] = (64, 64)) -> torch.Tensor:
    return torch.tensor(rgb).view(1, 3, 1, 1).expand(1, 3, *size).contiguous()


def noise(seed: int, size: tuple[int, int] = (64, 64)) -> torch.Tensor:
    """Patches of 8 x 8 pixels, each of one colour."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(1, 3, size[0] // 8, size[1] // 8, generator=generator)
    return small.repeat_interleave(8, 2).repeat_interleave(8, 3)


def halves(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return features[:, :EDGES], features[:, EDGES:]


@pytest.fixture
def encoder() -> HogEncoder:
    return HogEncoder((64, 64))


def by_direction(features: torch.Tensor) -> torch.Tensor:
    """Sums over blocks and cells: nine numbers."""
    return halves(features)[0].view(-1, 36, 9).sum(1)


@pytest.mark.parametrize(
    ("rgb", "bins"),
    [
        ((0.8, 0.3, 0.3), (0, 2, 3)),  # hue 0, saturation .5/.8 = .625, value .8
        ((0.8, 0.3, 0.31), (0, 2, 3)),  # hue .9967, just below a full turn: still red
        ((0.1, 0.1, 0.6), (5, 3, 2)),  # hue 2/3 (+ 1/16 = .729 of 8: 5), saturation .833, value .6
        ((0.9, 0.9, 0.9), (0, 0, 3)),  # grey: no saturation
        ((1.0, 1.0, 0.0), (1, 3, 3)),  # hue 1/6 (+ 1/16 = .229 of 8: 1); the ends belong to the last bins
    ],
)
def test_one_colour_fills_one_bin_and_has_no_edges(encoder: HogEncoder, rgb: tuple, bins: tuple) -> None:
    edges, colours = halves(encoder.encode_images(uniform(*rgb, size=(50, 30))))
    expected = torch.zeros(COLOURS)
    expected[bins] = HALF
    torch.testing.assert_close(colours, expected.view(1, -1))
    assert torch.equal(edges, torch.zeros(1, EDGES))


def test_a_quarter_of_the_pixels_weighs_half_as_the_square_root(encoder: HogEncoder) -> None:
    """A quarter red, three quarters white: sqrt(1/4) and sqrt(3/4), times sqrt(1/2)."""
    picture = uniform(1.0, 1.0, 1.0)
    picture[:, 1:, :32, :32] = 0
    colours = halves(encoder.encode_images(picture))[1].view(COLOURS)
    assert colours[0, 3, 3].item() == pytest.approx(HALF * 0.5)
    assert colours[0, 0, 3].item() == pytest.approx(HALF * math.sqrt(0.75))
    assert colours.count_nonzero() == 2


def test_a_vertical_edge_is_direction_0_and_a_horizontal_one_90_degrees(encoder: HogEncoder) -> None:
    """90 degrees lie in bin 4, which holds 80 to 100."""
    vertical = uniform(0.0, 0.0, 0.0)
    vertical[..., 32:] = 1
    for picture, direction in ((vertical, 0), (vertical.mT.contiguous(), 4)):
        sums = by_direction(encoder.encode_images(picture))[0]
        assert sums.count_nonzero() == 1
        assert sums.argmax() == direction


def test_the_edge_half_of_a_vertical_edge_by_hand(encoder: HogEncoder) -> None:
    """The central difference is 1 in the columns 31 and 32 alone: 16 rows in each cell of the two middle columns.

    Of the three blocks in a row of blocks the middle one has four equal cells, the outer ones two: after L2 norm 1/2
    and 1/sqrt(2), both clipped to .2 (Hys) and normalised again, the same 1/2 and 1/sqrt(2). Nine blocks of norm 1:
    the half is divided by 3.
    """
    picture = uniform(0.0, 0.0, 0.0)
    picture[..., 32:] = 1
    blocks = halves(encoder.encode_images(picture))[0].view(3, 3, 2, 2, 9)[..., 0]
    s = math.sqrt(0.5)
    row = torch.tensor([[[0, s], [0, s]], [[0.5, 0.5], [0.5, 0.5]], [[s, 0], [s, 0]]])
    torch.testing.assert_close(blocks, HALF / 3 * row.expand(3, 3, 2, 2), atol=1e-5, rtol=0)


def test_a_mirror_turns_45_degrees_into_135(encoder: HogEncoder) -> None:
    """From bin 2 (40 to 60 degrees) to bin 6 (120 to 140); only the steps of the staircase at its ends go elsewhere."""
    row, column = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    picture = (row + column > 64).float().expand(1, 3, 64, 64)
    for other, direction in ((picture, 2), (picture.flip(3), 6)):
        sums = by_direction(encoder.encode_images(other))[0]
        assert sums[direction] > 0.95 * sums.sum()


def test_features_are_invariant_to_contrast_shifts_and_size(encoder: HogEncoder) -> None:
    """Contrast changes no edges, moving pixels no colours, and the size (nearly) neither."""
    picture = noise(0)
    edges, colours = halves(encoder.encode_images(picture))
    torch.testing.assert_close(halves(encoder.encode_images(0.5 * picture + 0.25))[0], edges, atol=2e-4, rtol=0)
    for moved in (picture.flip(3), picture.roll((17, 5), (2, 3))):
        torch.testing.assert_close(halves(encoder.encode_images(moved))[1], colours)
    # One smooth picture at two sizes; a bin's rim moves a few pixels.
    small = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(5))
    sizes = [F.interpolate(small, size=size, mode="bilinear", align_corners=False) for size in (64, 128)]
    first, second = (encoder.encode_images(size) for size in sizes)
    assert F.cosine_similarity(first, second).item() > 0.99


def test_the_cosine_is_the_mean_of_two_cosines(encoder: HogEncoder) -> None:
    pair = encoder.encode_images(torch.cat([noise(1), noise(2)]))
    np.testing.assert_allclose(pair.norm(dim=1), 1, atol=1e-6)
    means = [F.cosine_similarity(half[0], half[1], dim=0) for half in halves(pair)]
    assert (pair[0] @ pair[1]).item() == pytest.approx((means[0].item() + means[1].item()) / 2, abs=1e-6)


def test_it_satisfies_the_protocol_of_image_encoders(encoder: HogEncoder) -> None:
    pictures = torch.cat([noise(3, (96, 64)), noise(4, (96, 64))])
    features = encoder.encode_images(pictures)
    assert isinstance(encoder, ImageEncoder)
    assert (features.shape, features.dtype) == ((2, encoder.dim), torch.float32)
    assert torch.equal(encoder.encode_images(pictures), features)
    assert torch.equal(encode_in_blocks(encoder, pictures, block=1), features)
    in_bytes = (pictures * 255).round().byte()
    assert torch.equal(encode_in_blocks(encoder, in_bytes), encoder.encode_images(in_bytes.float() / 255))
    assert encoder.encode_images(pictures[:0]).shape == (0, encoder.dim)


def test_gradients_and_other_sizes_are_refused(encoder: HogEncoder) -> None:
    with pytest.raises(NotImplementedError, match="no gradient: take image_encoder dual"):
        encoder.encode_images(noise(0).requires_grad_())
    with torch.no_grad():
        assert encoder.encode_images(noise(0).requires_grad_()).shape == (1, encoder.dim)
    with pytest.raises(ValueError, match="must be multiples of 4, got 50 x 64"):
        HogEncoder((50, 64))
