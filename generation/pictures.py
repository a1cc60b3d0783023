"""Pictures as tensors in one convention, RGB float32 NCHW in [0, 1]: from files, and to bytes and PIL images."""

import math
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

from generation.framing import Fit
from generation.request import Item

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture upright, by its EXIF orientation. Not ``ImageOps.exif_transpose``, which also writes the EXIF
data anew and fails where they are damaged."""


Colour = tuple[int, int, int]
"""Red, green and blue from 0 to 255."""
FRAMES = 8
"""A picture that is longer than this many frames once scaled is cropped first: 1 x 20,000 pixels would need 330 MB."""
REACH = 3
"""Pixels that Lanczos reads on each side, counted in the coarser of the two grids."""


def open_image(path: Path) -> Image.Image:
    """One picture of a file in RGB, turned as its EXIF orientation says; transparency is composited on white.

    Of 16 bits of grey, 65535 is white. Every reader of picture files comes through here, so that all see the same.

    Raises:
        ValueError: the file does not decode as a picture.
    """
    try:
        with Image.open(path) as file:
            # Pillow's convert clips modes F and I to 255 without scaling them.
            if file.mode == "F":
                raise ValueError("its pixels are floating-point numbers, and nobody says which is white")
            grey = file.mode.startswith("I")
            mode = "RGBA" if "A" in file.getbands() or "transparency" in file.info else "RGB"
            turned = _upright(file)
            picture = _from_16_bits(turned) if grey else turned.convert(mode)
    # Broken chunks raise SyntaxError in Pillow's PNG reader, broken numbers ValueError in others.
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} does not decode as a picture ({error}): replace the file or leave it out") from error
    if picture.mode == "RGBA":
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture).convert("RGB")
    return picture


def load_image(
    path: Path, size: tuple[int, int], fit: Fit = "crop", padding: Colour | None = None
) -> UInt8[np.ndarray, "height width 3"]:
    """One picture at ``size`` = (height, width), as :func:`open_image` reads it; shapes keep their proportions.

    Args:
        path: the file.
        size: the frame.
        fit: ``crop``: the picture is scaled to cover the frame and cropped around its centre. ``pad``: it is scaled to
            fit into the frame, in whose middle it stands. A picture of the frame's proportions is the same either way.
        padding: colour of the rest of the frame; by default the median colour of the picture's border.

    Raises:
        ValueError: the file does not decode as a picture.
    """
    picture = open_image(path)
    return np.asarray(_padded(picture, size, padding) if fit == "pad" else _cropped(picture, size))


def _padded(picture: Image.Image, size: tuple[int, int], padding: Colour | None) -> Image.Image:
    height, width = size
    scale = min(width / picture.width, height / picture.height)
    scaled = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    picture = picture.resize(scaled, Image.Resampling.LANCZOS)
    frame = Image.new("RGB", (width, height), _border_colour(picture) if padding is None else padding)
    frame.paste(picture, ((width - picture.width) // 2, (height - picture.height) // 2))
    return frame


def _border_colour(picture: Image.Image) -> Colour:
    """Median of the picture's outermost pixels in each channel."""
    pixels = np.asarray(picture)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    red, green, blue = (round(float(level)) for level in np.median(border, axis=0))
    return red, green, blue


def _cropped(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    height, width = size
    scale = max(width / picture.width, height / picture.height)
    if picture.width * scale > FRAMES * width or picture.height * scale > FRAMES * height:
        picture = _crop_centre(picture, (height / scale, width / scale), REACH * max(1, 1 / scale))
    # Rounding may end a pixel below the frame.
    scaled = (max(width, round(picture.width * scale)), max(height, round(picture.height * scale)))
    picture = picture.resize(scaled, Image.Resampling.LANCZOS)
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


def picture_shape(path: Path) -> tuple[int, int] | None:
    """(height, width) of a file's picture, upright, from its header alone; None if it does not read."""
    try:
        with Image.open(path) as file:
            turned = file.getexif().get(ExifTags.Base.Orientation, 1) >= 5
            return (file.width, file.height) if turned else (file.height, file.width)
    except (SyntaxError, ValueError, KeyError, TypeError, OSError, struct.error, Image.DecompressionBombError):
        return None


def _upright(file: Image.Image) -> Image.Image:
    """The picture turned and mirrored as the EXIF tag Orientation says; as it is if its EXIF data are damaged."""
    file.load()  # Pillow turns a TIFF while it loads it, and takes the tag away.
    try:
        turn = _TURNS.get(file.getexif().get(ExifTags.Base.Orientation, 1))
    except (SyntaxError, ValueError, KeyError, TypeError, OSError, struct.error):
        return file
    return file if turn is None else file.transpose(turn)


def _from_16_bits(file: Image.Image) -> Image.Image:
    """Convert 16 bits of grey to RGB, the transparent value to white."""
    grey = np.asarray(file).astype(np.int64).clip(0, 65535)
    grey[grey == file.info.get("transparency", -1)] = 65535
    # 65535 / 257 = 255
    return Image.fromarray((grey / 257).round().astype(np.uint8)).convert("RGB")


def _crop_centre(picture: Image.Image, size: tuple[float, float], margin: float) -> Image.Image:
    """The centre of a picture: ``size`` = (height, width) in its pixels, and at least ``margin`` more on each side."""
    left = max(0, math.floor((picture.width - size[1]) / 2 - margin))
    top = max(0, math.floor((picture.height - size[0]) / 2 - margin))
    return picture.crop((left, top, picture.width - left, picture.height - top))


def load_images(paths: Sequence[Path], size: tuple[int, int], fit: Fit = "crop") -> UInt8[Tensor, "n 3 height width"]:
    """Read pictures at ``size`` = (height, width) as bytes; :func:`to_float` converts them to the convention."""
    if not paths:
        return torch.empty(0, 3, *size, dtype=torch.uint8)
    return torch.from_numpy(np.stack([load_image(path, size, fit) for path in paths])).permute(0, 3, 1, 2).contiguous()


def read_pictures(items: Sequence[Item], size: tuple[int, int], fit: Fit = "crop") -> UInt8[Tensor, "n 3 height width"]:
    """Read the pictures of the items that have one, zeros for the others, in order."""
    images = torch.zeros(len(items), 3, *size, dtype=torch.uint8)
    rows = rows_with_picture(items)
    images[rows] = load_images([items[row].image for row in rows], size, fit)  # type: ignore[misc]
    return images


def rows_with_picture(items: Sequence[Item]) -> list[int]:
    """Rows of the items that have a picture."""
    return [row for row, item in enumerate(items) if item.image is not None]


def to_float(images: UInt8[Tensor, "n 3 height width"]) -> Float[Tensor, "n 3 height width"]:
    """Convert bytes to the convention, float32 in [0, 1]."""
    return images.float() / 255


def to_bytes(images: Float[Tensor, "n 3 height width"]) -> UInt8[Tensor, "n 3 height width"]:
    """Convert the convention to bytes, rounded; values outside [0, 1] are clipped."""
    return (images.detach().clamp(0, 1) * 255).round().to(torch.uint8).cpu()


def to_pil(image: UInt8[Tensor, "3 height width"] | Float[Tensor, "3 height width"]) -> Image.Image:
    """Convert one picture, bytes or floats in [0, 1], to a PIL image, for a file or a page."""
    pixels = image if image.dtype == torch.uint8 else to_bytes(image[None])[0]
    return Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy())
