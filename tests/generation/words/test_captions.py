"""Captions: names of colours, decades from titles, and the caption made of them."""

import numpy as np
import pytest
import torch

from generation.words.captions import COLOURS, PaletteCaptioner, TextCaptioner, describe, era, palette, srgb_to_lab
from generation_world import Shape, World


def test_lab_of_colours_that_are_known() -> None:
    rgb = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0]], np.uint8)
    # CIE 1976 with D65: black, white, and the well-known L*a*b* of the sRGB red primary
    expected = [[0, 0, 0], [100, 0, 0], [53.24, 80.09, 67.20]]
    np.testing.assert_allclose(srgb_to_lab(rgb), expected, atol=0.1)


def test_every_named_colour_is_its_own_name() -> None:
    for name, rgb in COLOURS.items():
        assert palette(np.full((4, 4, 3), rgb, np.uint8)) == (name,)


def test_palette_of_a_two_coloured_picture() -> None:
    picture = np.empty((10, 10, 3), np.uint8)
    picture[:, :7], picture[:, 7:] = COLOURS["navy"], COLOURS["orange"]
    # every second column: 0, 2, 4, 6 are navy, 8 is orange
    assert palette(picture) == ("navy", "orange")
    assert palette(picture, n=1) == ("navy",)
    assert palette(picture, least=0.25) == ("navy",)


def test_palette_of_a_picture_without_a_large_colour_names_the_largest() -> None:
    picture = np.array([[COLOURS["red"], COLOURS["red"], COLOURS["teal"]]], np.uint8).repeat(4, 1)
    assert palette(picture, least=0.9) == ("red",)


@pytest.mark.parametrize(
    ("title", "decade"),
    [
        ("Alien (1979)", ("1970s",)),
        ("2001: A Space Odyssey (1968) ", ("1960s",)),
        ("Blade Runner", ()),
        ("1984", ()),
        ("Seven (a.k.a. Se7en)", ()),
        ("", ()),
    ],
)
def test_era(title: str, decade: tuple[str, ...]) -> None:
    assert era(title) == decade


def test_describe_leaves_out_what_is_not_known() -> None:
    item = Shape("1", "Alien (1979)", ("Horror", "Sci-Fi"))
    assert describe(item, ("black", "green")) == "Horror, Sci-Fi, 1970s in black, green"
    assert describe(item) == "Horror, Sci-Fi, 1970s"
    assert describe(Shape("2"), ("black",)) == "black"
    assert describe(Shape("3")) == ""


def test_the_captioner_reads_the_picture(world: World) -> None:
    captions = dict(zip(world.gallery.ids, world.gallery.captions, strict=True))
    assert captions["red-circle"] == "circle, red, 1950s in white, red"
    assert captions["blue-bar"] == "bar, blue, 2000s in white, blue"
    assert captions["hole"] == "circle, lost, 1990s"  # no colours: there is no picture


def test_the_captioner_needs_one_picture_an_item(world: World) -> None:
    with pytest.raises(ValueError, match="zip"):
        PaletteCaptioner()(world.items, world.gallery.images[:2])


def test_an_items_own_text_can_be_its_caption() -> None:
    items = [Shape("1", "Alien (1979)", ("Horror",), "In space\nno one can hear you."), Shape("2")]
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    assert TextCaptioner()(items, images) == ["Alien (1979). Horror. In space no one can hear you.", ""]
    assert TextCaptioner(words=4)(items, images)[0] == "Alien (1979). Horror. In"
