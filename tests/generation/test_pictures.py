"""Pictures: the pixels that are read from a file, and the errors for files that are no pictures."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from generation.pictures import load_image, load_images, picture_shape, to_bytes, to_float, to_pil


def save(picture: Image.Image, path: Path) -> Path:
    picture.save(path)
    return path


def test_channels_and_axes_are_kept(tmp_path: Path) -> None:
    picture = Image.new("RGB", (3, 2), (10, 20, 30))
    picture.putpixel((2, 0), (200, 0, 0))  # x = 2, y = 0
    loaded = load_images([save(picture, tmp_path / "a.png")], (2, 3))
    assert loaded.shape == (1, 3, 2, 3)
    assert loaded[0, :, 1, 0].tolist() == [10, 20, 30]
    assert loaded[0, :, 0, 2].tolist() == [200, 0, 0]


def test_transparency_is_composited_on_white(tmp_path: Path) -> None:
    clear = save(Image.new("RGBA", (4, 4), (255, 0, 0, 0)), tmp_path / "clear.png")
    half = save(Image.new("RGBA", (4, 4), (255, 0, 0, 128)), tmp_path / "half.png")
    assert load_image(clear, (4, 4))[0, 0].tolist() == [255, 255, 255]
    # 255 * (1 - 128/255) = 127 of the white shines through the red
    assert load_image(half, (4, 4))[0, 0].tolist() == [255, 127, 127]


def test_a_transparent_palette_colour_becomes_white(tmp_path: Path) -> None:
    picture = Image.new("P", (2, 1), 0)
    picture.putpalette([0, 0, 0, 0, 0, 255])
    picture.putpixel((1, 0), 1)
    path = tmp_path / "p.png"
    picture.save(path, transparency=0)
    assert load_image(path, (1, 2)).tolist() == [[[255, 255, 255], [0, 0, 255]]]


def test_a_wide_picture_is_cropped_around_its_centre(tmp_path: Path) -> None:
    # thirds red | green | blue; a square frame as high as the picture holds exactly the green third
    pixels = np.zeros((4, 12, 3), np.uint8)
    for third in range(3):
        pixels[:, 4 * third : 4 * third + 4, third] = 255
    path = save(Image.fromarray(pixels), tmp_path / "wide.png")
    assert (load_image(path, (4, 4)) == [0, 255, 0]).all()


def test_a_padded_picture_stands_whole_in_the_middle_on_the_colour_of_its_border(tmp_path: Path) -> None:
    """40 x 20 of a light ground with a dark middle: in a square of 20, it is 10 rows high, below 5 of the ground."""
    picture = Image.new("RGB", (40, 20), (240, 230, 220))
    picture.paste((9, 20, 60), (10, 5, 30, 15))
    wide, upright = save(picture, tmp_path / "wide.png"), save(picture.rotate(90, expand=True), tmp_path / "up.png")
    for loaded in (load_image(wide, (20, 20), "pad"), load_image(upright, (20, 20), "pad").transpose(1, 0, 2)):
        assert (loaded[[0, 4, 15, 19]] == [240, 230, 220]).all()
        assert np.abs(loaded[9:11, 7:13].astype(int) - [9, 20, 60]).max() <= 8  # Lanczos overshoots beside an edge
        assert (loaded[:, 0] == [240, 230, 220]).all()
    # a picture of the frame's proportions has the same pixels either way
    noise = np.random.default_rng(0).integers(0, 256, (36, 24, 3), dtype=np.uint8)
    file = save(Image.fromarray(noise), tmp_path / "noise.png")
    for size in ((96, 64), (18, 12), (36, 24)):
        assert np.array_equal(load_image(file, size, "pad"), load_image(file, size, "crop"))
    thread = save(Image.new("RGB", (1, 20_000), "red"), tmp_path / "thread.png")
    assert (load_image(thread, (96, 64), "pad") == [255, 0, 0]).all()


def test_a_shape_is_read_from_the_header_and_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (4, 2)).save(tmp_path / "turned.jpg", exif=exif)
    (tmp_path / "text.png").write_text("no picture")
    assert picture_shape(tmp_path / "turned.jpg") == (4, 2)
    assert picture_shape(save(Image.new("RGB", (4, 2)), tmp_path / "plain.png")) == (2, 4)
    assert picture_shape(tmp_path / "text.png") is None


def test_a_picture_that_does_not_decode_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"this is text")
    with pytest.raises(ValueError, match=r"broken\.png does not decode as a picture"):
        load_images([broken], (4, 4))


def test_a_truncated_picture_is_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    path = save(Image.fromarray(noise), tmp_path / "cut.png")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"cut\.png does not decode"):
        load_image(path, (8, 8))


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def test_sixteen_bits_of_grey_are_scaled(tmp_path: Path) -> None:
    """65535 is 255, so 257 a step: 0, 100 (25700 / 257), 128 (32768 / 257 = 127.5) and 255."""
    values = np.array([[0, 25700, 32768, 65535]])
    grey = [[level] * 3 for level in (0, 100, 128, 255)]
    for pixels, name in (
        (values.astype(np.uint16), "sixteen.png"),
        (values.astype(np.uint16), "sixteen.tif"),
        (values.astype(">u2"), "big.tif"),
        (values.astype(np.int32), "integers.tif"),
    ):
        assert load_image(save(Image.fromarray(pixels), tmp_path / name), (1, 4)).tolist() == [grey]
    beyond = save(Image.fromarray(np.array([[-5, 100_000]], np.int32)), tmp_path / "beyond.tif")
    assert load_image(beyond, (1, 2)).tolist() == [[[0] * 3, [255] * 3]]


def test_a_transparent_grey_of_sixteen_bits_becomes_white(tmp_path: Path) -> None:
    path = save(Image.fromarray(np.array([[0, 25700]], np.uint16)), tmp_path / "clear.png")
    data = path.read_bytes()
    at = data.index(b"IDAT") - 4
    path.write_bytes(data[:at] + chunk(b"tRNS", struct.pack(">H", 0)) + data[at:])
    assert load_image(path, (1, 2)).tolist() == [[[255] * 3, [100] * 3]]


def test_floating_point_pixels_are_named(tmp_path: Path) -> None:
    path = save(Image.fromarray(np.ones((2, 2), np.float32)), tmp_path / "float.tif")
    with pytest.raises(ValueError, match=r"float\.tif does not decode as a picture \(its pixels are floating-point"):
        load_image(path, (2, 2))


def test_a_broken_chunk_and_a_wrong_number_are_named(tmp_path: Path) -> None:
    path = save(Image.new("RGB", (4, 4)), tmp_path / "chunk.png")
    data = path.read_bytes()
    at = data.index(b"IDAT") - 4
    for text in (b"\0\0\0\4!!!!", chunk(b"IHDR", b"")):
        path.write_bytes(data[:at] + text + data[at:])
        with pytest.raises(ValueError, match=r"chunk\.png does not decode as a picture"):
            load_image(path, (4, 4))
    (tmp_path / "numbers.ppm").write_bytes(b"P3 1 1 255 1 2 x")
    with pytest.raises(ValueError, match=r"numbers\.ppm does not decode as a picture"):
        load_image(tmp_path / "numbers.ppm", (4, 4))


def test_one_pixel_fills_the_frame(tmp_path: Path) -> None:
    path = save(Image.new("RGB", (1, 1), (9, 120, 255)), tmp_path / "dot.png")
    assert (load_image(path, (48, 32)) == [9, 120, 255]).all()


def test_an_image_bomb_is_named_and_not_unpacked(tmp_path: Path) -> None:
    """60,000 x 60,000 pixels by its header, 11 GB once decoded."""
    path = save(Image.new("RGB", (1, 1)), tmp_path / "bomb.png")
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"bomb\.png does not decode as a picture .*3600000000 pixels"):
        load_image(path, (8, 8))


def test_a_very_long_picture_is_cropped_before_it_is_scaled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """1 x 20,000 pixels, 163 bytes: scaled to cover 96 x 64 it would be 64 x 1,280,000, 330 MB."""
    sizes: list[tuple[int, int]] = []
    resize = Image.Image.resize

    def watched(picture: Image.Image, size: tuple[int, int], *rest: Any, **named: Any) -> Image.Image:
        sizes.append(size)
        return resize(picture, size, *rest, **named)

    monkeypatch.setattr(Image.Image, "resize", watched)
    for size in ((1, 20_000), (20_000, 1)):
        # the frame holds the middle 1.5 pixels, and Lanczos reads 3 on each side
        long = Image.new("RGB", size, "red")
        left, top = (max(0, side // 2 - 5) for side in size)
        long.paste((9, 120, 255), (left, top, left + 10, top + 10))
        assert (load_image(save(long, tmp_path / "long.png"), (96, 64)) == [9, 120, 255]).all()
    # the frame shows 1.5 pixels of the upright one and .67 of the other; with 3 on each side, in whole pixels, 8
    assert sizes == [(64, 8 * 64), (8 * 96, 96)]
    # where the scale is a whole number, 2 here, the same bytes as of the whole: 4 + 2 * 3 of 36 pixels are enough
    noise = np.random.default_rng(0).integers(0, 256, (36, 4, 3), dtype=np.uint8)
    file = save(Image.fromarray(noise), tmp_path / "noise.png")
    bounded = load_image(file, (8, 8))
    monkeypatch.setattr("generation.pictures.FRAMES", 9)  # 72 pixels are not more than 9 frames of 8
    assert np.array_equal(load_image(file, (8, 8)), bounded)
    assert sizes[2:] == [(8, 20), (8, 72)]


def test_an_empty_list_gives_an_empty_batch() -> None:
    assert load_images([], (48, 32)).shape == (0, 3, 48, 32)


def test_bytes_and_floats() -> None:
    values = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    assert to_float(values).flatten().tolist() == pytest.approx([0, 0.2, 1])
    # -0.1 and 1.5 are clipped, 0.5 * 255 = 127.5 rounds to even
    floats = torch.tensor([-0.1, 0.5, 1.5]).view(1, 3, 1, 1)
    assert to_bytes(floats).flatten().tolist() == [0, 128, 255]
    every = torch.arange(256).to(torch.uint8).view(-1, 1, 1, 1).repeat(1, 3, 1, 1)
    assert torch.equal(to_bytes(to_float(every)), every)


def test_to_pil_keeps_width_height_and_channels() -> None:
    image = torch.zeros(3, 2, 5, dtype=torch.uint8)
    image[0, 1, 4] = 9
    picture = to_pil(image)
    assert picture.size == (5, 2)
    assert picture.getpixel((4, 1)) == (9, 0, 0)
    assert to_pil(to_float(image[None])[0]).getpixel((4, 1)) == (9, 0, 0)


CORNERS = {
    # where the red corner of an upright picture lies in the pixels of the file, (x, y) of 4 x 2 (of 2 x 4 from 5 on)
    1: (0, 0),
    2: (3, 0),
    3: (3, 1),
    4: (0, 1),
    5: (0, 0),
    6: (0, 3),
    7: (1, 3),
    8: (1, 0),
}


@pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", CORNERS)
def test_a_picture_is_turned_as_its_exif_data_say(tmp_path: Path, orientation: int, suffix: str) -> None:
    """Upright it is 4 wide, 2 high and has a red corner on the upper left."""
    stored = Image.new("RGB", (4, 2) if orientation < 5 else (2, 4), "black")
    stored.putpixel(CORNERS[orientation], (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{suffix}"
    if suffix == "webp":
        stored.save(path, exif=exif, lossless=True)
    else:
        stored.save(path, exif=exif)
    expected = np.zeros((2, 4, 3), np.uint8)
    expected[0, 0] = 255, 0, 0
    assert (load_image(path, (2, 4)) == expected).all()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0nonsense", b"\0" * 20])
def test_damaged_exif_data_do_not_keep_a_picture_from_being_read(tmp_path: Path, exif: bytes) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "odd.jpg", exif=exif)
    assert load_image(tmp_path / "odd.jpg", (8, 8))[0, 0].tolist() == [254, 0, 0]


def test_an_orientation_that_there_is_not(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 99
    Image.new("RGB", (4, 2), "red").save(tmp_path / "odd.png", exif=exif)
    assert load_image(tmp_path / "odd.png", (2, 4)).tolist() == [[[255, 0, 0]] * 4] * 2
