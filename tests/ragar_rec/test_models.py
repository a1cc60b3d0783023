"""The section ``models`` in a run: weights that are given take the place of small models, which nobody learns then."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from film_world import config_file, film_folder, open_run
from generation.encoders.timm import TimmEncoder
from generation.pictures import to_float
from generation.request import Request
from ragar_rec.experiment import Experiment

ASKED = [Request("1", "3", ("1", "2", "7"), seed=4), Request("2", "5", ("24", "6"), seed=5)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    film_folder(folder / "raw")
    return folder


def opened(home: Path, output: str = "output", **models: Any) -> Experiment:
    """A run with these keys of the section; one store for one output."""
    return open_run(config_file(home, models=models), home / "raw", home / output)


def test_models_that_are_named_draw_the_pictures_of_those_that_were_learned(home: Path) -> None:
    learned = opened(home)
    expected = learned.new_generator().generate(ASKED)
    assert not learned.given.keys() & {"encoder", "backbone", "language"}
    named = {name: str(folder) for name, folder in learned.small_models.items()}
    given = opened(home, "other", **named)
    assert torch.equal(given.new_generator().generate(ASKED), expected)
    assert given.given.keys() - learned.given.keys() == {"encoder", "backbone", "language"}
    assert given.small_models == {}
    assert {name.partition("-")[0] for name in given.store.ran} == {"data", "pictures"}
    frozen, before = given.frozen, learned.frozen
    assert frozen.keys() == before.keys()
    assert frozen["pictures"] == before["pictures"]


def test_bfloat16_is_near_and_what_is_trained_stays_float32(home: Path) -> None:
    usual, half = opened(home), opened(home, precision="bfloat16", channels_last=True)
    ragar = half.new_generator()
    assert {value.dtype for value in ragar.trained_parts().values()} == {torch.float32}
    assert {value.dtype for value in ragar.backbone.pipeline.unet.parameters()} == {torch.bfloat16}
    assert {value.dtype for value in ragar.language.model.parameters()} == {torch.bfloat16}
    pictures, exact = ragar.generate(ASKED), usual.new_generator().generate(ASKED)
    assert pictures.dtype == torch.float32
    # bfloat16 has 8 bits: a 256th of the range at each of a few steps
    assert 0 < (pictures - exact).abs().mean() < 0.02
    changed = dict(half.given.items() - usual.given.items())
    assert changed == {"dtype": "torch.bfloat16", "channels_last": "True"}
    assert changed.items() <= half.frozen.items()


def test_p_ret_by_a_timm_model(home: Path) -> None:
    model: Any = timm.create_model("test_vit")
    (home / "weights" / "test_vit").mkdir(parents=True)
    save_file(model.state_dict(), home / "weights" / "test_vit" / "model.safetensors")
    run = opened(home, visual="timm:test_vit")
    with pytest.raises(FileNotFoundError, match="test_vit needs pretrained weights: name their folder by --weights"):
        _ = run.given
    run = opened(home, visual="timm:test_vit")
    run.weights = home / "weights"
    encoder = TimmEncoder.from_pretrained("test_vit", run.weights, size=None)
    seen = F.normalize(encoder.encode_images(to_float(run.components.gallery.images[:3])), dim=-1)
    torch.testing.assert_close(run.components.gallery.visual[:3], seen, atol=1e-5, rtol=0)
    ragar = run.components.new_generator(run.config.generator)
    assert ragar.text_projection.shape == (32, 64)  # from the text encoder's width to test_vit's
    _, weights, p_ret = ragar.retrieve(ASKED[:1])
    rows = run.components.gallery.rows(ragar.encode_preference(ASKED[:1]).explanations[0].retrieved)
    mean = run.components.gallery.visual[:23].mean(0)  # of those with a poster
    torch.testing.assert_close(p_ret[0], weights[0] @ (run.components.gallery.visual[rows] - mean))
    assert torch.equal(run.components.gallery.semantic, opened(home).gallery.semantic)
    assert run.system.folder.is_dir()  # warm start and reward phase, eq. 13 through the fitted projection
