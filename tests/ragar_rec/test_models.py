"""The section ``models`` in a run: weights that are given take the place of small models, which nobody learns then."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from film_world import config_file, film_folder, open_run
from generation.backbone.adapter import AdapterTokens
from generation.encoders.clip_vision import ClipVisionEncoder
from generation.encoders.timm import TimmEncoder
from generation.pictures import to_float
from generation.ragar.pipeline import RagarPipeline
from generation.ragar.ragar import Ragar
from generation.request import Request
from ragar_rec.experiment import Experiment
from stranger import save_adapter, save_foreign

ASKED = [Request("1", "3", ("1", "2", "7"), seed=4), Request("2", "5", ("24", "6"), seed=5)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    film_folder(folder / "raw")
    return folder


def opened(home: Path, output: str = "output", **models: Any) -> Experiment:
    """A run with these keys of the section; one store for one output."""
    return open_run(config_file(home, models=models), home / "raw", home / output)


def fresh(run: Experiment) -> Ragar:
    """A generator that was never trained."""
    return run.components.new_generator(run.config.generator)


def test_models_that_are_named_draw_the_pictures_of_those_that_were_learned(home: Path) -> None:
    small = opened(home)
    expected = fresh(small).generate(ASKED)
    folders = small.components.trained_folders
    named = {name: str(folder) for name, folder in zip(("encoder", "backbone", "language"), folders, strict=True)}
    given = opened(home, "other", **named)
    assert torch.equal(fresh(given).generate(ASKED), expected)
    assert given.components.trained_folders == []
    assert {name.partition("-")[0] for name in given.store.ran} == {"data", "pictures"}
    key, before = given.components.key, small.components.key
    assert key.keys() == before.keys()
    assert key["pictures"] == before["pictures"]
    assert key["models"] == before["models"]  # a model that is named counts by its content


def test_bfloat16_is_near_and_what_is_trained_stays_float32(home: Path) -> None:
    usual, half = opened(home), opened(home, precision="bfloat16", channels_last=True)
    ragar = fresh(half)
    assert {value.dtype for value in ragar.trained_parts().values()} == {torch.float32}
    assert {value.dtype for value in ragar.backbone.pipeline.unet.parameters()} == {torch.bfloat16}
    assert {value.dtype for value in ragar.language.model.parameters()} == {torch.bfloat16}
    pictures, exact = ragar.generate(ASKED), fresh(usual).generate(ASKED)
    assert pictures.dtype == torch.float32
    # bfloat16 has 8 bits: a 256th of the range at each of a few steps
    assert 0 < (pictures - exact).abs().mean() < 0.02
    changed = dict(half.components.key["models"].items() - usual.components.key["models"].items())
    assert changed == {"precision": "bfloat16", "channels_last": True}
    assert half.components.content != usual.components.content


def test_p_ret_by_a_timm_model(home: Path) -> None:
    model: Any = timm.create_model("test_vit")
    (home / "weights" / "test_vit").mkdir(parents=True)
    save_file(model.state_dict(), home / "weights" / "test_vit" / "model.safetensors")
    run = opened(home, visual="timm:test_vit")
    with pytest.raises(FileNotFoundError, match="test_vit needs pretrained weights: name their folder by --weights"):
        _ = run.components
    config = config_file(home, models={"visual": "timm:test_vit"})
    run = open_run(config, home / "raw", home / "output", weights=home / "weights")
    encoder = TimmEncoder.from_pretrained("test_vit", home / "weights", size=None)
    seen = F.normalize(encoder.encode_images(to_float(run.components.gallery.images[:3])), dim=-1)
    torch.testing.assert_close(run.components.gallery.visual[:3], seen, atol=1e-5, rtol=0)
    ragar = fresh(run)
    assert ragar.text_projection.shape == (32, 64)  # from the text encoder's width to test_vit's
    _, weights, p_ret = ragar.retrieve(ASKED[:1])
    rows = run.components.gallery.rows(ragar.encode_preference(ASKED[:1]).explanations[0].retrieved)
    mean = run.components.gallery.visual[:23].mean(0)  # of those with a poster
    torch.testing.assert_close(p_ret[0], weights[0] @ (run.components.gallery.visual[rows] - mean))
    assert torch.equal(run.components.gallery.semantic, opened(home).components.gallery.semantic)
    assert run.ragar.folder.is_dir()  # warm start and reward phase, eq. 13 through the fitted projection


def test_an_ip_adapter_makes_rows_of_what_was_retrieved(home: Path) -> None:
    """SD-1.x's classes, a picture tower of the adapter's own, and a taste: from warm start and reward to a picture."""
    encoder, *_ = opened(home).components.trained_folders
    named: dict[str, Any] = {"encoder": str(encoder), "backbone": str(save_foreign(home / "foreign"))}
    adapter = save_adapter(home / "adapter")
    models = named | {"ip_adapter": str(adapter), "visual": "ip-adapter"}
    config = config_file(home, models=models, generator__taste=1.0)
    run = open_run(config, home / "raw", home / "output")
    gallery, tokens = run.components.gallery, run.components.pipeline.picture_tokens
    assert isinstance(tokens, AdapterTokens)
    tower = ClipVisionEncoder.from_pretrained(adapter / "image_encoder")
    seen = tower.encode_images(to_float(gallery.images[gallery.pictured]))
    torch.testing.assert_close(gallery.visual[gallery.pictured], F.normalize(seen, dim=1), atol=1e-5, rtol=0)
    torch.testing.assert_close(tokens.length, seen.square().sum(1).mean().sqrt())
    assert run.ragar.folder.is_dir()
    ragar = run.ragar.generator
    pictures = ragar.generate(ASKED)
    assert pictures.isfinite().all()
    mine, other = (ragar.generate([replace(ASKED[0], history=history)]) for history in (("1", "2"), ("9", "10")))
    assert (mine - other).abs().max() > 1e-3
    RagarPipeline(ragar).save_pretrained(home / "saved")
    again = RagarPipeline.from_pretrained(home / "saved").ragar
    again.taste = ragar.taste
    assert torch.equal(again.generate(ASKED), pictures)
    (adapter / "image_encoder" / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no config\.json in .*image_encoder: a part is missing"):
        _ = open_run(config, home / "raw", home / "output").components.gallery
