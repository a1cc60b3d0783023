"""The gallery: every table in the catalogue's order, and zeros for an item without a picture."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from generation.gallery import Gallery, build_gallery, caption
from generation.pictures import read_pictures, to_float
from generation.words.captions import PaletteCaptioner
from generation.words.keywords import TfidfKeywords
from generation_world import COLOURS, Shape, World


def test_tables_follow_the_catalogue(world: World) -> None:
    gallery = world.gallery
    assert gallery.ids == tuple(item.id for item in world.items)
    assert gallery.images.shape == (25, 3, 48, 32)
    row = int(gallery.rows(["blue-bar"])[0])
    assert gallery.images[row, :, 24, 16].tolist() == list(COLOURS["blue"])
    torch.testing.assert_close(
        gallery.visual[row], world.encoder.encode_images(to_float(gallery.images[row : row + 1]))[0], atol=1e-6, rtol=0
    )
    torch.testing.assert_close(gallery.semantic[row], world.encoder.encode_texts([gallery.captions[row]])[0])


def test_an_item_without_a_picture_is_described_by_its_words_and_has_no_visual_feature(world: World) -> None:
    gallery = world.gallery
    assert gallery.pictured.tolist() == [True] * 24 + [False]
    assert gallery.images[24].sum() == 0
    assert gallery.visual[24].abs().sum() == 0
    assert gallery.captions[24] == "circle, lost, 1990s"
    assert gallery.semantic[24].norm().item() == pytest.approx(1)


def test_the_mean_is_that_of_the_pictures(world: World) -> None:
    torch.testing.assert_close(world.gallery.mean_visual, world.gallery.visual[:24].mean(0))


def test_keywords_are_the_rarest_words(world: World) -> None:
    # a decade and a colour occur 3 times (the colour twice in each caption: tag and palette), a shape 8 times
    assert world.gallery.keywords[0] == ("red", "1950s", "circle")


def test_rows_keep_the_order_and_an_unknown_item_is_named(world: World) -> None:
    assert world.gallery.rows(["hole", "red-circle", "hole"]).tolist() == [24, 0, 24]
    assert world.gallery.rows([]).tolist() == []
    with pytest.raises(KeyError, match="item 'nobody' is not in the gallery of 25 items"):
        world.gallery.rows(["red-circle", "nobody"])


def test_a_catalogue_without_any_picture(world: World) -> None:
    items = [Shape("a", tags=("war",)), Shape("b", tags=("love",))]
    images = read_pictures(items, (48, 32))
    captions = caption(items, images, PaletteCaptioner())
    gallery = build_gallery(items, images, captions, TfidfKeywords(), world.encoder)
    assert captions == ("war", "love")
    assert not gallery.pictured.any()
    assert gallery.visual.shape == (2, 16)
    assert gallery.mean_visual.tolist() == [0] * 16


def test_what_is_kept_is_put_back_and_the_rest_has_the_gradient(world: World) -> None:
    """Three rows of pixels, kept, half kept and free: 1 * own, .5 * own + .5 * generated, generated (128 is .502)."""
    kept = torch.zeros(25, 48, 32, dtype=torch.uint8)
    kept[:, 0], kept[:, 1] = 255, 128
    gallery, rows = replace(world.gallery, kept=kept), torch.tensor([3, 0])
    generated = torch.rand(2, 3, 48, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert world.gallery.keep(generated, rows) is generated
    pictures, own = gallery.keep(generated, rows), to_float(gallery.images[rows])
    assert torch.equal(pictures[:, :, 0], own[:, :, 0])
    torch.testing.assert_close(pictures[:, :, 1], (128 * own[:, :, 1] + 127 * generated[:, :, 1]) / 255)
    assert torch.equal(pictures[:, :, 2:], generated[:, :, 2:])
    (gradient,) = torch.autograd.grad(pictures.sum(), generated)
    for row, weight in enumerate((0, 127 / 255, 1)):
        torch.testing.assert_close(gradient[:, :, row], torch.full((2, 3, 32), float(weight)))


def test_masks_are_saved_with_the_gallery(world: World, tmp_path: Path) -> None:
    kept = torch.randint(256, (25, 48, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    replace(world.gallery, kept=kept).save_pretrained(tmp_path / "masked")
    assert torch.equal(Gallery.from_pretrained(tmp_path / "masked").kept, kept)  # type: ignore[arg-type]
    world.gallery.save_pretrained(tmp_path / "plain")
    assert Gallery.from_pretrained(tmp_path / "plain").kept is None
