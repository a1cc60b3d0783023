from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from generation.gallery import Gallery
from generation.ragar.taste import Taste
from generation.request import Request

SEES = 3


class Linear:
    """A reward that sees three numbers of a picture, of which `one` likes the first and `two` none."""

    encoder: Any = SimpleNamespace(name="three", dim=SEES)

    def __call__(self, requests: Sequence[Request], images: Tensor) -> Tensor:
        return images.mean((1, 2, 3))

    def direction(self, requests: Sequence[Request], features: Tensor) -> Tensor:
        assert features.shape == (len(requests), SEES)
        likes = torch.tensor([1.0 if request.user == "one" else 0.0 for request in requests])
        return likes[:, None] * torch.eye(SEES)[:1]


@pytest.fixture
def gallery() -> Gallery:
    """Four pictures at the corners of a square, and an item without a picture far away."""
    visual = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0], [50.0, 50.0]])
    return Gallery(
        ids=tuple("abcde"),
        images=torch.zeros(5, 3, 2, 2, dtype=torch.uint8),
        pictured=torch.tensor([True] * 4 + [False]),
        captions=("",) * 5,
        keywords=((),) * 5,
        semantic=torch.zeros(5, 1),
        visual=visual,
    )


def asked(user: str) -> Request:
    return Request(user=user, reference="a", history=("b",), seed=0)


def test_a_taste_is_the_covariance_of_features_with_the_reward(gallery: Gallery) -> None:
    """The reward is 3 x_1 - 4 x_2 of the square, whose coordinates are uncorrelated with variance 4/3."""
    first = gallery.visual @ torch.tensor([3.0, -4.0])
    features = torch.stack([first + 7, torch.full((5,), 9.0), torch.arange(5.0)], 1)
    taste = Taste(Linear(), gallery, features)
    torch.testing.assert_close(taste.covariance[:, 0], torch.tensor([4.0, -16 / 3]))
    torch.testing.assert_close(taste([asked("one"), asked("two")]), torch.tensor([[0.6, -0.8], [0.0, 0.0]]))


def test_features_of_another_width_or_number_are_refused(gallery: Gallery) -> None:
    reward = Linear()
    with pytest.raises(ValueError, match=r"three gives 3 features a picture, for the gallery's 5 items 5 x 2 were"):
        Taste(reward, gallery)
    with pytest.raises(ValueError, match="4 x 3 were given"):
        Taste(reward, gallery, torch.zeros(4, SEES))
