import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from ragar_rec.report.pictures import data_uri


def decode(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_small_pictures_travel_without_loss_and_large_ones_shrink(tmp_path):
    picture = torch.rand(3, 96, 64, generator=torch.Generator().manual_seed(0))
    expected = (picture * 255).round().permute(1, 2, 0).numpy().astype(np.uint8)
    assert (decode(data_uri(picture)) == expected).all()
    Image.new("RGB", (600, 900), "red").save(tmp_path / "large.png")
    uri = data_uri(tmp_path / "large.png")
    assert uri.startswith("data:image/jpeg")
    assert decode(uri).shape == (320, 213, 3)


def test_a_picture_lies_as_its_exif_data_say(tmp_path):
    """Stored 4 wide and 2 high, shown 2 wide and 4 high: orientation 6 is a quarter turn clockwise."""
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.new("RGB", (4, 2))
    stored.putpixel((0, 1), (255, 0, 0))
    stored.save(tmp_path / "turned.png", exif=exif)
    shown = decode(data_uri(tmp_path / "turned.png"))
    assert shown.shape == (4, 2, 3)
    assert shown[0, 0].tolist() == [255, 0, 0]
    assert shown.sum() == 255


def test_transparency_is_seen_on_white():
    assert (decode(data_uri(Image.new("RGBA", (4, 4), (0, 0, 0, 0)))) == 255).all()


def test_what_is_no_picture_is_refused():
    with pytest.raises(ValueError, match=r"\(3, height, width\), got \(4, 5\)"):
        data_uri(np.zeros((4, 5)))
