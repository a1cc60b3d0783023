"""What is kept of a picture: foregrounds of pictures that were drawn for it, and masks from files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from generation.masks import feather, foreground, foreground_masks, read_masks
from generation_world import Shape


def picture(ground: object = "white", size: tuple[int, int] = (48, 64)) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """A picture of one colour, (width, height), and a brush."""
    image = Image.new("RGB", size, ground)  # type: ignore[arg-type]
    return image, ImageDraw.Draw(image)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).transpose(2, 0, 1)


def box(left: int, top: int, right: int, bottom: int, shape: tuple[int, int] = (64, 48)) -> np.ndarray:
    """True from (left, top) to (right, bottom), both included."""
    mask = np.zeros(shape, dtype=bool)
    mask[top : bottom + 1, left : right + 1] = True
    return mask


@pytest.mark.parametrize("ground", ["white", (40, 90, 160)])
def test_a_product_is_told_from_a_background_of_any_one_colour(ground: object) -> None:
    image, brush = picture(ground)
    brush.rectangle((12, 20, 30, 50), fill=(200, 30, 40))
    found = foreground(pixels(image))
    assert found is not None
    assert np.array_equal(found, box(12, 20, 30, 50))


def test_noise_of_the_background_widens_the_tolerance() -> None:
    """Levels of 240 to 250: the border's median deviation from 245 is 2 or 3, so at least 4 + 3 * 2 levels pass."""
    image = np.random.default_rng(0).integers(240, 251, (3, 64, 48)).astype(np.uint8)
    image[:, 20:51, 12:31] = 100
    found = foreground(image)
    assert found is not None
    assert np.array_equal(found, box(12, 20, 30, 50))


def test_white_on_white_is_kept_behind_an_outline_with_a_gap() -> None:
    """The flood needs 3 x 3 pixels of background: two pixels without an outline let nothing in, three do."""
    for gap, leaks in ((2, False), (3, True)):
        image, brush = picture()
        brush.rectangle((10, 10, 37, 53), outline=(235, 235, 235))
        brush.line((20, 53, 19 + gap, 53), fill="white")
        found = foreground(pixels(image))
        assert found is not None
        assert bool(found[30, 24]) is not leaks


def test_what_is_enclosed_is_kept_and_what_touches_the_border_is_found() -> None:
    ring, brush = picture()
    brush.ellipse((8, 16, 40, 48), outline="black", width=4)
    found = foreground(pixels(ring))
    assert found is not None
    assert found[32, 24]
    assert not found[4, 4]
    trousers, brush = picture()
    brush.rectangle((12, 20, 35, 63), fill="navy")
    assert np.array_equal(foreground(pixels(trousers)), box(12, 20, 35, 63))  # type: ignore[arg-type]


def test_specks_are_no_foreground() -> None:
    """64 x 48 pixels: three of them are less than a thousandth, four are more."""
    image, brush = picture()
    brush.rectangle((12, 20, 30, 50), fill="red")
    brush.line((40, 5, 42, 5), fill="red")
    assert np.array_equal(foreground(pixels(image)), box(12, 20, 30, 50))  # type: ignore[arg-type]
    brush.line((40, 5, 43, 5), fill="red")
    expected = box(12, 20, 30, 50) | box(40, 5, 43, 5)
    assert np.array_equal(foreground(pixels(image)), expected)  # type: ignore[arg-type]


def test_where_nothing_stands_out_nothing_is_told() -> None:
    white, _ = picture()
    tiny, brush = picture()
    brush.rectangle((20, 20, 24, 24), fill="black")  # 25 of 3,072 pixels
    halves, brush = picture("red")
    brush.rectangle((0, 0, 47, 30), fill="blue")
    brush.rectangle((0, 0, 10, 63), fill="green")
    photograph = np.random.default_rng(0).integers(0, 256, (3, 64, 48)).astype(np.uint8)
    for image in (pixels(white), pixels(tiny), pixels(halves), photograph):
        assert foreground(image) is None


def test_a_larger_picture_has_the_same_foreground_and_a_wider_tolerance_for_gaps() -> None:
    image, brush = picture(size=(480, 640))
    brush.rectangle((100, 100, 379, 539), outline=(235, 235, 235), width=8)
    brush.rectangle((200, 530, 211, 545), fill="white")  # a gap of 12 pixels
    found = foreground(pixels(image))
    assert found is not None
    assert found[300, 240]


def test_edges_are_soft_outwards_alone() -> None:
    """A Gaussian of one pixel, cut off at two, sums to 1: beside a straight edge .299 is left, one pixel on .054."""
    soft = feather(box(12, 20, 30, 50).astype(np.float32))
    assert (soft[box(12, 20, 30, 50)] == 1).all()
    assert soft[35, 31:35].tolist() == pytest.approx([0.2988, 0.0545, 0, 0], abs=1e-3)
    assert soft[35, 11:8:-1].tolist() == pytest.approx([0.2988, 0.0545, 0], abs=1e-3)


def test_a_picture_without_a_known_foreground_is_kept_as_a_whole() -> None:
    image, brush = picture()
    brush.rectangle((12, 20, 30, 50), fill="red")
    images = torch.stack([torch.from_numpy(pixels(each).copy()) for each in (image, picture()[0])])
    masks, unknown = foreground_masks(images)
    assert unknown == [1]
    assert masks.dtype == torch.uint8
    assert masks[0, 35, 8:14].tolist() == [0, 0, 14, 76, 255, 255]
    assert (masks[1] == 255).all()


# --- files ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def items(tmp_path: Path) -> list[Shape]:
    """Two pictures, 40 wide and 60 high, and a hole between them; their masks stand in ``masks``."""
    (tmp_path / "masks").mkdir()
    for name in ("a", "b"):
        picture(size=(40, 60))[0].save(tmp_path / f"{name}.png")
        save_mask(tmp_path, name, (40, 60))
    return [Shape("a", image=tmp_path / "a.png"), Shape("hole"), Shape("b", image=tmp_path / "b.png")]


def save_mask(folder: Path, name: str, size: tuple[int, int]) -> None:
    """White in the left half."""
    mask = Image.new("L", size, 0)
    mask.paste(255, (0, 0, size[0] // 2, size[1]))
    mask.save(folder / "masks" / f"{name}.png")


def test_masks_of_any_size_are_brought_into_the_frame(tmp_path: Path, items: list[Shape]) -> None:
    """In a frame of 48 x 48, padded, 40 x 60 pixels become 32 x 48 in the middle: the left 16 of them are kept."""
    save_mask(tmp_path, "b", (400, 600))
    masks = read_masks(tmp_path / "masks", items, (48, 48), "pad")
    assert masks.shape == (3, 48, 48)
    assert masks[1].sum() == 0
    for mask in masks[[0, 2]]:
        # Lanczos rings by a few levels beside an edge.
        assert (mask[:, 8:22] > 250).all()
        assert (mask[:, 26:] < 5).all()
        assert (mask[:, :5] == 0).all()
    assert (masks[0].int() - masks[2].int()).abs().max() < 60  # at the edge alone, where they are scaled


def test_missing_masks_are_counted_and_named(tmp_path: Path, items: list[Shape]) -> None:
    more = [Shape(f"x{n}", image=tmp_path / "a.png") for n in range(6)]
    with pytest.raises(
        FileNotFoundError,
        match=r"has no mask of 6 of 8 items with a picture \(x0, x1, x2, x3, x4, …\): each needs a file such as x0.png",
    ):
        read_masks(tmp_path / "masks", [*items, *more], (48, 32), "pad")


def test_a_mask_of_other_proportions_is_named_with_both_sizes(tmp_path: Path, items: list[Shape]) -> None:
    save_mask(tmp_path, "b", (320, 320))
    with pytest.raises(ValueError, match="mask of item b is 320 x 320 pixels, its picture 40 x 60"):
        read_masks(tmp_path / "masks", items, (48, 32), "pad")
    save_mask(tmp_path, "b", (13, 20))  # a third, rounded
    assert read_masks(tmp_path / "masks", items, (48, 32), "pad")[2, 24, 0] == 255


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Image.new("RGB", (40, 60), "red"), "b.png has colours: a mask is greyscale, white where the picture is kept"),
        (Image.new("RGBA", (40, 60), (255, 255, 255, 0)), "b.png has transparent pixels"),
        (b"no picture", "b.png does not decode as a picture"),
    ],
)
def test_what_is_no_mask_is_refused(
    tmp_path: Path, items: list[Shape], content: Image.Image | bytes, message: str
) -> None:
    file = tmp_path / "masks" / "b.png"
    file.write_bytes(content) if isinstance(content, bytes) else content.save(file)
    with pytest.raises(ValueError, match=message):
        read_masks(tmp_path / "masks", items, (48, 32), "pad")
