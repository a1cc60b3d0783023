"""How pictures look in numbers, worked out by hand on pictures of a few pixels."""

import pytest
import torch
from torch import Tensor

from generation.appearance import appearance, commonest_share, palettes

RED, BLUE = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
WHITE, BLACK, GREY = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (0.5, 0.5, 0.5)


def picture(*rows: list[tuple[float, float, float]]) -> Tensor:
    """One picture from rows of pixels."""
    return torch.tensor(rows).permute(2, 0, 1)


def measured(image: Tensor) -> dict[str, float]:
    return {name: float(value) for name, value in appearance(image[None]).items()}


def test_a_plain_picture_has_no_edge_and_no_entropy() -> None:
    """Pure red: luma .299, saturation 1; grey: luma .5, saturation 0; black is taken as unsaturated."""
    expected = {"brightness": 0.299, "saturation": 1.0, "colour entropy": 0.0, "edge density": 0.0}
    assert measured(picture([RED, RED], [RED, RED])) == pytest.approx(expected)
    assert measured(picture([GREY] * 3))["saturation"] == 0
    assert measured(picture([BLACK] * 3)) == pytest.approx(dict.fromkeys(expected, 0.0))


def test_a_picture_of_four_colours_by_hand() -> None:
    """White, red / black, blue: four colours of a quarter each are 2 bits.

    Luma 1, .299 / 0, .114. Edges: white (right .701, below 1) and red (below .185) and black (right .114) are edges;
    blue has no next pixel. 3 of 4. Saturation: 0, 1, 0, 1.
    """
    values = measured(picture([WHITE, RED], [BLACK, BLUE]))
    assert values["brightness"] == pytest.approx((1 + 0.299 + 0 + 0.114) / 4)
    assert values["saturation"] == pytest.approx(0.5)
    assert values["colour entropy"] == pytest.approx(2.0)
    assert values["edge density"] == pytest.approx(0.75)


def test_unequal_shares_have_less_entropy() -> None:
    """3/4 and 1/4: -(.75 log2 .75 + .25 log2 .25) = .8113 bits."""
    assert measured(picture([RED, RED, RED, BLUE]))["colour entropy"] == pytest.approx(0.8113, abs=1e-4)


def test_each_picture_is_measured_alone() -> None:
    one, other = picture([RED, BLUE]), picture([WHITE, WHITE])
    together = appearance(torch.stack([one, other]))
    for name, values in together.items():
        assert values.tolist() == pytest.approx([measured(one)[name], measured(other)[name]])


def test_the_commonest_palette_by_hand() -> None:
    """Red and blue in whichever order and with a third colour that is rarer are one palette; three of five have it."""
    images = torch.stack(
        [
            picture([RED, RED, RED, BLUE]),
            picture([BLUE, BLUE, BLUE, RED]),
            picture([RED, BLUE, BLUE, RED]),
            picture([RED, RED, RED, RED]),
            picture([WHITE, BLACK, BLACK, BLACK]),
        ]
    )
    assert commonest_share(palettes(images)) == pytest.approx(3 / 5)
    assert commonest_share(palettes(images[3:])) == pytest.approx(1 / 2)
    assert commonest_share(palettes(images[:1])) == 1.0
    with pytest.raises(ValueError, match="needs at least one picture, got 0"):
        commonest_share(palettes(images[:0]))


def test_shades_of_a_colour_are_one_palette() -> None:
    """Levels begin at 0, 1/3 and 2/3: .7 and .95 are both the highest."""
    images = torch.tensor([0.7, 0.95])[:, None, None, None].expand(-1, 3, 2, 2)
    assert commonest_share(palettes(images)) == 1.0


def test_no_random_number_is_drawn() -> None:
    state = torch.get_rng_state()
    appearance(torch.ones(1, 3, 2, 2))
    palettes(torch.ones(1, 3, 2, 2))
    assert torch.equal(state, torch.get_rng_state())
