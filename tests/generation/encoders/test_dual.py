"""Encoders: one text tower in two classes, saved and loaded features, gradients to pictures and not to weights."""

from pathlib import Path
from typing import Any

import open_clip
import pytest
import timm
import torch
from huggingface_hub.errors import EntryNotFoundError
from safetensors.torch import save_file

from generation.encoders import dual as encoders
from generation.encoders.dual import OpenClipEncoder
from generation.encoders.encoder import ImageEncoder, encode_in_blocks
from generation.encoders.text_tower import clip_text_model
from generation.encoders.timm import TimmEncoder
from generation.pictures import to_float
from generation_world import TINY, World

TEXTS = ["", "red", "circle, red, 1950s in white, red", "a caption that is longer than sixteen tokens by far " * 4]


def test_the_text_tower_of_the_pipeline_is_the_dual_encoders(world: World) -> None:
    model = clip_text_model(world.encoder)
    ids = world.encoder.tokenizer(TEXTS)
    assert ids.shape == (4, TINY.context)
    with torch.no_grad():
        converted = model(ids).pooler_output @ world.encoder.text_projection
        expected = world.encoder.model.encode_text(ids)
    assert expected.std(0).mean() > 0.1  # the four texts differ, so equality says something
    torch.testing.assert_close(converted, expected, atol=1e-5, rtol=0)


def test_a_saved_encoder_gives_the_same_vectors(world: World, tmp_path: Path) -> None:
    world.encoder.save_pretrained(tmp_path / "dual")
    loaded = OpenClipEncoder.from_pretrained(tmp_path / "dual")
    pictures = to_float(world.gallery.images[:3])
    assert (loaded.name, loaded.dim, loaded.size) == ("dual", 16, (48, 32))
    assert torch.equal(loaded.encode_texts(TEXTS), world.encoder.encode_texts(TEXTS))
    assert torch.equal(loaded.encode_images(pictures), world.encoder.encode_images(pictures))
    assert torch.equal(loaded.text_projection, world.encoder.text_projection)


@pytest.mark.parametrize("part", ["open_clip_config.json", "open_clip_model.safetensors"])
def test_an_incomplete_folder_names_the_part(world: World, tmp_path: Path, part: str) -> None:
    world.encoder.save_pretrained(tmp_path)
    (tmp_path / part).unlink()
    with pytest.raises(FileNotFoundError, match=f"has no {part}"):
        OpenClipEncoder.from_pretrained(tmp_path)


def test_a_missing_folder_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no dual encoder at .*nowhere: give a folder with open_clip_config"):
        OpenClipEncoder.from_pretrained(tmp_path / "nowhere")


def test_a_hubs_pickled_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(repository: str, file: str) -> str:
        assert (repository, file) == ("shop/clip", "open_clip_model.safetensors")
        raise EntryNotFoundError("404")

    monkeypatch.setattr(encoders, "hf_hub_download", refused)
    with pytest.raises(ValueError, match=r"hf-hub:shop/clip has no open_clip_model\.safetensors, and pickled"):
        OpenClipEncoder.from_pretrained("hf-hub:shop/clip")


def test_an_encoder_from_a_hub_is_saved_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = tmp_path / "hub"
    config = {
        "model_cfg": {
            "embed_dim": 8,
            "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 32, "patch_size": 16},
            "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 1, "layers": 1},
        },
        "preprocess_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7]},
    }
    tokenizer = open_clip.SimpleTokenizer(context_length=12)
    OpenClipEncoder(open_clip.CLIP(**config["model_cfg"]), tokenizer, config).save_pretrained(hub)

    def hub_file(repository: str, file: str) -> str:
        assert repository == "shop/clip"
        return str(hub / file)

    def download(model_id: str, filename: str | None = None, **_: object) -> str:
        return hub_file(model_id, filename or "open_clip_model.safetensors")

    monkeypatch.setattr(encoders, "hf_hub_download", hub_file)
    monkeypatch.setattr("open_clip.factory.download_pretrained_from_hf", download)
    encoder = OpenClipEncoder.from_pretrained("hf-hub:shop/clip")
    assert (encoder.name, encoder.dim, encoder.size) == ("hf-hub:shop/clip", 8, (32, 32))
    assert encoder.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert encoder.std.flatten().tolist() == pytest.approx([0.5, 0.6, 0.7])
    encoder.save_pretrained(tmp_path / "saved")
    saved = OpenClipEncoder.from_pretrained(tmp_path / "saved")
    picture = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(saved.encode_images(picture), encoder.encode_images(picture))
    assert torch.equal(saved.encode_texts(TEXTS), encoder.encode_texts(TEXTS))
    assert torch.equal(encoder.encode_texts(TEXTS), OpenClipEncoder.from_pretrained(hub).encode_texts(TEXTS))


def test_a_hub_that_cannot_be_reached_is_no_pickle() -> None:
    with pytest.raises(FileNotFoundError, match="connection"):
        OpenClipEncoder.from_pretrained("hf-hub:shop/clip")


def test_features_are_unit_vectors_and_other_sizes_are_resized(world: World) -> None:
    pictures = torch.rand(2, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    features = world.encoder.encode_images(pictures)
    assert features.shape == (2, 16)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(world.encoder.encode_texts(TEXTS).norm(dim=1), torch.ones(4))


def test_pictures_are_normalised_by_the_configurations_mean_and_deviation(world: World) -> None:
    # mean .5 and deviation .5 in the configuration: [0, 1] becomes [-1, 1]
    pictures = to_float(world.gallery.images[:2])
    expected = torch.nn.functional.normalize(world.encoder.model.encode_image(pictures * 2 - 1), dim=-1)
    torch.testing.assert_close(world.encoder.encode_images(pictures), expected, atol=1e-6, rtol=0)


def test_blocks_and_bytes_change_nothing(world: World) -> None:
    pictures = world.gallery.images[:7]
    whole = world.encoder.encode_images(to_float(pictures))
    for images in (pictures, to_float(pictures)):
        torch.testing.assert_close(encode_in_blocks(world.encoder, images, block=3), whole, atol=1e-6, rtol=0)


def test_an_empty_batch_has_features_of_the_right_width(world: World) -> None:
    assert encode_in_blocks(world.encoder, world.gallery.images[:0]).shape == (0, 16)
    assert world.encoder.encode_texts([]).shape == (0, 16)


def test_gradients_reach_the_picture_and_not_the_weights(world: World) -> None:
    world.encoder.zero_grad()  # what its training left
    picture = to_float(world.gallery.images[:1]).requires_grad_()
    world.encoder.encode_images(picture)[0, 0].backward()
    assert picture.grad is not None
    assert picture.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in world.encoder.parameters())


def test_timm_features_are_the_pooled_ones(tmp_path: Path) -> None:
    model: Any = timm.create_model("resnet10t").eval()
    (tmp_path / "resnet10t").mkdir()
    save_file(model.state_dict(), tmp_path / "resnet10t" / "model.safetensors")
    encoder = TimmEncoder.from_pretrained("resnet10t", tmp_path, size=(32, 32))
    picture = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model.forward_features((picture - 0.5) / 0.5).mean((2, 3))  # its head pools by the mean
        torch.testing.assert_close(encoder.encode_images(picture), expected)
    assert encoder.dim == 512
    assert isinstance(encoder, ImageEncoder)


def test_missing_timm_weights_are_named_where_they_were_looked_for(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no weights of resnet10t at .*resnet10t/model\.safetensors"):
        TimmEncoder.from_pretrained("resnet10t", tmp_path, size=(32, 32))


def test_a_timm_model_has_the_size_and_colours_of_its_training(tmp_path: Path) -> None:
    """Without a size: 160 pixels, and the colours that timm names for it, channel by channel."""
    model: Any = timm.create_model("test_vit").eval()
    (tmp_path / "test_vit").mkdir()
    save_file(model.state_dict(), tmp_path / "test_vit" / "model.safetensors")
    encoder = TimmEncoder.from_pretrained("test_vit", tmp_path, size=None)
    known = model.pretrained_cfg
    assert (encoder.size, encoder.dim) == ((160, 160), 64)
    colours = torch.rand(3, generator=torch.Generator().manual_seed(0))
    picture = colours.view(1, 3, 1, 1).expand(1, 3, 160, 160)
    normalised = [(float(c) - m) / s for c, m, s in zip(colours, known["mean"], known["std"], strict=True)]
    with torch.no_grad():
        expected = model.forward_head(
            model.forward_features(torch.tensor(normalised).view(1, 3, 1, 1).expand(1, 3, 160, 160)), pre_logits=True
        )
        torch.testing.assert_close(encoder.encode_images(picture), expected, atol=1e-5, rtol=1e-5)


def test_a_folder_without_a_tokenizer_has_open_clips_own(world: World, tmp_path: Path) -> None:
    world.encoder.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    ids = OpenClipEncoder.from_pretrained(tmp_path).tokenizer(["red", "circle " * 40])
    # CLIP's vocabulary: 49406 begins, "red" is 736, 49407 ends a text; cut off at this encoder's 16 tokens
    assert ids[0].tolist() == [49406, 736, 49407, *[0] * 13]
    assert ids[1, -1] == 49407
    assert ids.shape == (2, 16)
