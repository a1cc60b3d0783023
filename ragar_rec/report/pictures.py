"""Pictures as data URIs, which embed them in the page."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from generation.pictures import open_image

SMALL = 128
"""Longer side in pixels up to which a picture is embedded without loss."""

Picture = Any
"""A path, a PIL picture, or an array or tensor of shape (3, height, width) with values in [0, 1]."""


def data_uri(picture: Picture, longest: int = 320) -> str:
    """Encode a picture as a data URI: PNG up to :data:`SMALL` pixels, where every pixel counts, JPEG above.

    Args:
        picture: see :data:`Picture`.
        longest: the longer side in pixels; a larger picture is shrunk to it.

    Raises:
        ValueError: it is no picture.
    """
    image = _open(picture)
    if max(image.size) > longest:
        image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    small = max(image.size) <= SMALL
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True) if small else image.save(file, "JPEG", quality=88)
    return f"data:image/{'png' if small else 'jpeg'};base64,{base64.b64encode(file.getvalue()).decode()}"


def _open(picture: Picture) -> Image.Image:
    if isinstance(picture, (str, Path)):
        return open_image(Path(picture))
    if isinstance(picture, Image.Image):
        return _on_white(picture)
    values = np.asarray(picture, dtype=np.float32)
    if values.ndim != 3 or values.shape[0] != 3:
        raise ValueError(f"a picture in the report has shape (3, height, width), got {values.shape}")
    return Image.fromarray((values.clip(0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0))


def _on_white(image: Image.Image) -> Image.Image:
    """The picture without transparency, as JPEG has none; white is what a page shows behind it."""
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
