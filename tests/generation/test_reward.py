"""Rewards that are mixed, and the relevance of a picture to its reference."""

import pytest
import torch
import torch.nn.functional as F

from generation.pictures import to_float
from generation.reward import Mixture, Relevance, Reward
from generation_world import World, request


def test_a_mixture_is_the_weighted_sum(rng: torch.Generator) -> None:
    images = torch.rand(2, 3, 4, 4, generator=rng).requires_grad_()
    asked = [request("a", seed=3), request("b", seed=5)]
    reward = Mixture(
        [
            (2.0, lambda requests, images: images.mean((1, 2, 3))),
            (-0.5, lambda requests, images: torch.tensor([float(one.seed) for one in requests])),
        ]
    )
    assert isinstance(reward, Reward)
    scores = reward(asked, images)
    torch.testing.assert_close(scores, 2 * images.mean((1, 2, 3)) - torch.tensor([1.5, 2.5]))
    scores[0].backward()
    assert images.grad is not None
    torch.testing.assert_close(images.grad[0], torch.full((3, 4, 4), 2 / 48))
    assert images.grad[1].abs().max() == 0
    with pytest.raises(ValueError, match="a mixture of rewards needs at least one"):
        Mixture([])


def test_relevance_is_the_cosine_with_the_references_caption_or_picture(world: World) -> None:
    gallery, asked = world.gallery, [request("red-circle"), request("blue-bar"), request("pink-square")]
    rows = gallery.rows([one.reference for one in asked])
    pictures = to_float(gallery.images[:3])
    features = world.encoder.encode_images(pictures)
    by_caption = Relevance(world.encoder, gallery, gallery.semantic)(asked, pictures)
    wanted = world.encoder.encode_texts([gallery.captions[row] for row in rows.tolist()])
    torch.testing.assert_close(by_caption, (features * wanted).sum(1))
    by_picture = Relevance(world.encoder, gallery, 7 * gallery.visual)  # lengths do not matter
    torch.testing.assert_close(by_picture(asked, pictures), F.cosine_similarity(features, gallery.visual[rows]))
    torch.testing.assert_close(by_picture(asked, to_float(gallery.images[rows])), torch.ones(3))


def test_relevance_needs_a_row_an_item_in_the_encoders_space(world: World) -> None:
    with pytest.raises(ValueError, match=r"dual gives 16 features and the gallery has 25 items, but .* are 25 x 8"):
        Relevance(world.encoder, world.gallery, torch.zeros(25, 8))
