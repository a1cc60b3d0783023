"""Mixtures of rewards, the relevance of a picture to its reference, the aesthetic head, and the user's own rewards."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from generation.pictures import to_float
from generation.plugins import code_of
from generation.ragar.scoring import check_gradient
from generation.reward import Mixture, Reward
from generation.rewards.aesthetic import Aesthetic
from generation.rewards.choice import reward_conflicts
from generation.rewards.own import load_reward
from generation.rewards.relevance import Relevance
from generation_world import World, request


def test_a_mixture_is_the_weighted_sum(rng: torch.Generator) -> None:
    images = torch.rand(2, 3, 4, 4, generator=rng).requires_grad_()
    requested = [request("a", seed=3), request("b", seed=5)]
    reward = Mixture(
        [
            (2.0, lambda requests, images: images.mean((1, 2, 3))),
            (-0.5, lambda requests, images: torch.tensor([float(request.seed) for request in requests])),
        ]
    )
    assert isinstance(reward, Reward)
    scores = reward(requested, images)
    torch.testing.assert_close(scores, 2 * images.mean((1, 2, 3)) - torch.tensor([1.5, 2.5]))
    scores[0].backward()
    assert images.grad is not None
    torch.testing.assert_close(images.grad[0], torch.full((3, 4, 4), 2 / 48))
    assert images.grad[1].abs().max() == 0
    with pytest.raises(ValueError, match="a mixture of rewards needs at least one"):
        Mixture([])


def test_relevance_is_the_cosine_with_the_references_caption_or_picture(world: World) -> None:
    gallery, requested = world.gallery, [request("red-circle"), request("blue-bar"), request("pink-square")]
    rows = gallery.rows([it.reference for it in requested])
    pictures = to_float(gallery.images[:3])
    features = world.encoder.encode_images(pictures)
    by_caption = Relevance(world.encoder, gallery, gallery.semantic)(requested, pictures)
    targets = world.encoder.encode_texts([gallery.captions[row] for row in rows.tolist()])
    torch.testing.assert_close(by_caption, (features * targets).sum(1))
    by_picture = Relevance(world.encoder, gallery, 7 * gallery.visual)  # lengths do not matter
    torch.testing.assert_close(by_picture(requested, pictures), F.cosine_similarity(features, gallery.visual[rows]))
    torch.testing.assert_close(by_picture(requested, to_float(gallery.images[rows])), torch.ones(3))


def test_relevance_needs_a_row_an_item_in_the_encoders_space(world: World) -> None:
    with pytest.raises(ValueError, match=r"dual gives 16 features and the gallery has 25 items, but .* are 25 x 8"):
        Relevance(world.encoder, world.gallery, torch.zeros(25, 8))


class Corner:
    """An encoder whose features are the colour of the first pixel, not normalised."""

    name, dim = "corner", 3

    def encode_images(self, images: Tensor) -> Tensor:
        return images[:, :, 0, 0]


def head(file: Path, **tensors: list[float] | list[list[float]]) -> Path:
    save_file({name: torch.tensor(values) for name, values in tensors.items()}, file)
    return file


def test_an_aesthetic_head_reads_features_of_length_one(tmp_path: Path) -> None:
    reward = Aesthetic.from_file(Corner(), head(tmp_path / "head.safetensors", weight=[[5.0, 10.0, -1.0]], bias=[2.0]))
    assert isinstance(reward, Reward)
    images = torch.zeros(2, 3, 4, 4)
    images[0, :, 0, 0] = torch.tensor([0.3, 0.4, 0.0])  # of length .5: (.6, .8, 0)
    images[1, :, 0, 0] = torch.tensor([0.0, 0.0, 0.9])  # (0, 0, 1)
    images.requires_grad_()
    scores = reward([request("a"), request("b")], images)
    # 5 * .6 + 10 * .8 + 2, and -1 + 2
    assert scores.tolist() == pytest.approx([13.0, 1.0])
    scores[0].backward()
    assert images.grad is not None
    # (w - (w . u) u) / |f| with u = (.6, .8, 0), w . u = 11 and |f| = .5: (5 - 6.6, 10 - 8.8, -1) / .5
    assert images.grad[0, :, 0, 0].tolist() == pytest.approx([-3.2, 2.4, -2.0], rel=1e-5)
    assert images.grad[1].abs().max() == 0


def test_a_file_that_is_no_aesthetic_head_or_of_another_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no aesthetic head at .*gone\.safetensors: for CLIP ViT-L/14 take"):
        Aesthetic.from_file(Corner(), tmp_path / "gone.safetensors")
    wide = head(tmp_path / "wide.safetensors", weight=[[1.0] * 5], bias=[0.0])
    with pytest.raises(ValueError, match="the aesthetic head reads 5 features a picture, corner gives 3"):
        Aesthetic.from_file(Corner(), wide)
    for tensors in ({"weight": [1.0, 2.0, 3.0], "bias": [0.0]}, {"weight": [[1.0, 2.0, 3.0]]}):
        with pytest.raises(ValueError, match=r"other\.safetensors holds .*weight.*, no linear head"):
            Aesthetic.from_file(Corner(), head(tmp_path / "other.safetensors", **tensors))
    torch.save({"weight": torch.ones(1, 3), "bias": torch.ones(1)}, tmp_path / "head.pth")
    with pytest.raises(ValueError, match=r"head\.pth does not read as safetensors"):
        Aesthetic.from_file(Corner(), tmp_path / "head.pth")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of somebody's own, where Python finds it."""
    file = tmp_path / "shop_rewards.py"
    file.write_text(
        "class Brightness:\n"
        "    def __init__(self, encoder, gallery):\n"
        "        self.known = (encoder.name, len(gallery.ids))\n"
        "    def __call__(self, requests, images):\n"
        "        return images.mean((1, 2, 3))\n"
        "def nothing(encoder, gallery):\n"
        "    return 3\n"
        "def brightness(requests, images):\n"
        "    return images.mean((1, 2, 3))\n"
    )
    (tmp_path / "shop_broken.py").write_text("import math\nBrightness = math.brightness\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return file


def test_the_users_reward_is_built_with_encoder_and_gallery(world: World, shop: Path) -> None:
    reward = load_reward("shop_rewards:Brightness", world.encoder, world.gallery)
    assert reward.known == ("dual", 25)  # pyright: ignore[reportAttributeAccessIssue]
    assert reward([request("a")], torch.full((1, 3, 2, 2), 0.25)).tolist() == [0.25]
    assert code_of("shop_rewards:Brightness") == shop
    with pytest.raises(ValueError, match=r"shop_rewards:nothing gave int, no reward: called with \(encoder, gallery\)"):
        load_reward("shop_rewards:nothing", world.encoder, world.gallery)
    sentence = (
        r"brightness is called with \(encoder, gallery\) and must give back a reward, .* AttributeError: 'Gallery'"
    )
    with pytest.raises(ValueError, match=sentence):
        load_reward("shop_rewards:brightness", world.encoder, world.gallery)


def test_rewards_that_cannot_be_built_are_reported_when_the_config_is_read(tmp_path: Path, shop: Path) -> None:
    file = str(head(tmp_path / "head.safetensors", weight=[[1.0]], bias=[0.0]))
    good = {"ranker": 1.0, "relevance": 2.0, "aesthetic": 0.1, "shop_rewards:Brightness": -1.0}
    assert list(reward_conflicts(good, file)) == []
    for rewards, head_file, sentence in (
        ({}, None, "rewards {} must name at least one, such as {ranker: 1.0}"),
        ({"relevence": 1.0}, None, "there is no reward 'relevence': do you mean relevance?"),
        ({"beauty": 1.0}, None, "there are ranker, relevance, aesthetic and package.module:name of your own"),
        ({"shopp:Brightness": 1.0}, None, "cannot be imported (No module named 'shopp'): install it"),
        ({"shop_rewards:Bright": 1.0}, None, "module 'shop_rewards' has no attribute 'Bright'"),
        (
            {"shop_broken:Brightness": 1.0},
            None,
            "cannot be imported: shop_broken raised AttributeError: module 'math' has no attribute 'brightness'",
        ),
        ({":taste": 1.0}, None, "there is no reward ':taste': there are ranker, relevance, aesthetic and package.mod"),
        ({".shop:taste": 1.0}, None, "there is no reward '.shop:taste': there are ranker"),
        ({"shop_rewards:": 1.0}, None, "there is no reward 'shop_rewards:': there are ranker"),
        ({"aesthetic": 1.0}, None, "no aesthetic head (aesthetic_head) for the reward aesthetic: for CLIP ViT-L/14"),
        ({"aesthetic": 1.0}, "gone.safetensors", "no aesthetic head at gone.safetensors: for CLIP ViT-L/14 take"),
        ({"ranker": 1.0}, file, f"aesthetic_head {file} is read where rewards name aesthetic alone"),
    ):
        (message,) = reward_conflicts(rewards, head_file)
        assert sentence in message


def test_path_needs_a_gradient_from_every_reward_of_a_mixture(world: World) -> None:
    def bright(requests: object, images: Tensor) -> Tensor:
        return images.mean((1, 2, 3))

    def blind(requests: object, images: Tensor) -> Tensor:
        return images.detach().mean((1, 2, 3))

    rewards: list[tuple[float, Callable[..., Tensor]]] = [(1.0, bright), (2.0, bright)]
    check_gradient(world.ragar(), request("red-bar"), Mixture(rewards))
    with pytest.raises(ValueError, match="objective path needs a reward whose scores carry the gradient"):
        check_gradient(world.ragar(), request("red-bar"), Mixture([*rewards, (1.0, blind)]))
