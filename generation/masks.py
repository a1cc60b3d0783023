"""Masks of what a generated picture keeps of its reference: 1 where the reference's pixel stays, 0 where it may change.

They are found by the colour of the picture's border (:func:`foreground_masks`), or made elsewhere and read from files
(:func:`read_masks`); :meth:`generation.gallery.Gallery.keep` applies them.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from scipy import ndimage
from torch import Tensor

from generation.framing import Fit
from generation.pictures import load_image, open_image, picture_shape
from generation.request import Item

LEAST_TOLERANCE, MOST_TOLERANCE = 4 / 255, 16 / 255
"""Difference to the border's colour, in the channel where it is largest, up to which a pixel may be background. Less
than the least leaves rings of JPEG noise around products, more than the most lets the flood into them."""
UNIFORM = 0.5
"""Share of the border that must have its median colour; below, a picture has no background that can be told apart."""
LEAST_FOREGROUND, SPECK = 0.01, 0.001
"""Shares of the picture: a smaller foreground counts as none, a smaller region as noise."""
GAP = 96
"""A longer side of so many pixels closes gaps of two pixels in an outline; a larger picture larger ones."""
SQUARE = ndimage.generate_binary_structure(2, 2)
"""A pixel and its eight neighbours."""
SHOWN = 5
"""Items that a message names."""


def foreground(image: UInt8[np.ndarray, "3 height width"]) -> Bool[np.ndarray, "height width"] | None:
    """Find what stands before a background of one colour; None where that cannot be told.

    The background is flooded from the border through pixels of the border's median colour, within three times the
    border's median deviation from it. A square of 3 x 3 pixels must fit through: so a white shirt on white is not
    flooded through a gap in its outline. What the flood does not reach, enclosed background too, is foreground.

    None is returned if the border has more than one colour (a photograph, a poster) and if nothing, or next to
    nothing, stands out (an all-white picture).
    """
    pixels = image.transpose(1, 2, 0).astype(np.float32) / 255
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    colour = np.median(border, axis=0)
    deviations = np.abs(border - colour).max(axis=-1)
    tolerance = np.clip(LEAST_TOLERANCE + 3 * np.median(deviations), LEAST_TOLERANCE, MOST_TOLERANCE)
    if (deviations <= tolerance).mean() < UNIFORM:
        return None
    # With a frame of background the flood begins in one piece and surrounds a product that touches the border.
    radius = _radius(pixels.shape[:2])
    alike = np.pad(np.abs(pixels - colour).max(axis=-1) <= tolerance, radius + 1, constant_values=True)
    wide = ndimage.binary_erosion(alike, SQUARE, iterations=radius, border_value=1)
    start = np.zeros_like(alike)
    start[0] = True
    reached = ndimage.binary_propagation(start, mask=wide)
    background: np.ndarray = ndimage.binary_dilation(reached, SQUARE, iterations=radius, mask=alike)
    inside = slice(radius + 1, -radius - 1)
    found = _without_specks(~background[inside, inside])
    return found if found.mean() >= LEAST_FOREGROUND else None


def feather(mask: Float[np.ndarray, "height width"]) -> Float[np.ndarray, "height width"]:
    """Soften the edges of a mask outwards, over about two pixels: what it keeps entirely is still kept entirely."""
    # Cut off at two deviations: farther away nothing at all is kept.
    blurred = ndimage.gaussian_filter(mask, _radius(mask.shape), mode="nearest", truncate=2)
    return np.maximum(mask, blurred)


def foreground_masks(images: UInt8[Tensor, "n 3 height width"]) -> tuple[UInt8[Tensor, "n height width"], list[int]]:
    """Masks of the pictures' foregrounds in bytes (255: kept), and the rows where none can be told.

    Those pictures are kept as a whole: a product that is not found must not change its colour either.
    """
    masks = torch.full((len(images), *images.shape[2:]), 255, dtype=torch.uint8)
    unknown = []
    for row, image in enumerate(images.numpy()):
        if (found := foreground(image)) is None:
            unknown.append(row)
        else:
            masks[row] = _to_bytes(feather(found.astype(np.float32)))
    return masks, unknown


def read_masks(folder: Path, items: Sequence[Item], size: tuple[int, int], fit: Fit) -> UInt8[Tensor, "n height width"]:
    """Read a mask for each item that has a picture, ``<item id>.png``: greyscale, white where the picture is kept.

    A mask may have any size in its picture's proportions; it is brought into the frame as the picture is, and what pads
    the frame may change. Items without a picture have nothing to keep, and zeros.

    Args:
        folder: of the masks; other files in it are not read.
        items: of the catalogue.
        size: (height, width) of the frame.
        fit: how pictures are brought into it.

    Raises:
        FileNotFoundError: masks are missing.
        ValueError: one does not decode, is no greyscale picture, or has other proportions than its picture.
    """
    pictured = {row: item for row, item in enumerate(items) if item.image is not None}
    missing = [item.id for item in pictured.values() if not _file(folder, item).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{folder} has no mask of {len(missing)} of {len(pictured)} items with a picture ({first_few(missing)}): "
            f"each needs a file such as {missing[0]}.png, greyscale, white where its picture is kept"
        )
    masks = torch.zeros(len(items), *size, dtype=torch.uint8)
    for row, item in pictured.items():
        file = _file(folder, item)
        _check_mask(file, item)
        mask = load_image(file, size, fit, padding=(0, 0, 0))[..., 0].astype(np.float32) / 255
        masks[row] = _to_bytes(feather(mask))
    return masks


def first_few(names: Sequence[str]) -> str:
    """The first few names, and dots where there are more."""
    return ", ".join([*names[:SHOWN], *["…"] * (len(names) > SHOWN)])


def _radius(shape: tuple[int, ...]) -> int:
    """Pixels by which gaps are closed and edges are softened: 1 in pictures of the small generator's size."""
    return max(1, round(max(shape) / GAP))


def _without_specks(found: Bool[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
    """The regions of at least :data:`SPECK` of the picture."""
    regions: np.ndarray = ndimage.label(found, SQUARE)[0]  # type: ignore[index]
    large = np.bincount(regions.ravel()) >= SPECK * found.size
    large[0] = False  # region 0 is the background
    return large[regions]


def _check_mask(file: Path, item: Item) -> None:
    """Refuse a mask that is none, or is none of this item's picture."""
    pixels = np.asarray(open_image(file)).astype(np.int16)  # bytes would wrap around below zero
    with Image.open(file) as opened:
        transparent = "A" in opened.getbands() or "transparency" in opened.info
    if transparent or np.ptp(pixels, axis=-1).max() > 2:
        raise ValueError(
            f"{file} has {'transparent pixels' if transparent else 'colours'}: a mask is greyscale, white where the "
            "picture is kept and black where it may change"
        )
    assert item.image is not None
    shape = picture_shape(item.image)
    if shape is None:  # a picture that does not decode is a hole, and has no item with a picture here
        return
    (height, width), (own_height, own_width) = shape, pixels.shape[:2]
    # Cross products of proportions are equal up to the rounding of a side to whole pixels.
    if abs(own_height * width - own_width * height) > max(height, width, own_height, own_width):
        raise ValueError(
            f"the mask of item {item.id} is {own_width} x {own_height} pixels, its picture {width} x {height}: a mask "
            f"has the proportions of its picture ({file})"
        )


def _file(folder: Path, item: Item) -> Path:
    return folder / f"{item.id}.png"


def _to_bytes(mask: Float[np.ndarray, "height width"]) -> UInt8[Tensor, "height width"]:
    return torch.from_numpy((mask * 255).round().astype(np.uint8))
