"""A ranker's reward by hand: for one user and for several, and the direction in which a picture would have to move."""

from collections.abc import Sequence

import pytest
import torch
from jaxtyping import Float, Int
from torch import Tensor

from generation.request import Request
from generation.reward import DirectedReward, SharedReward, score_users
from ragar_rec.evaluation.reward import RankerReward
from recsys.recbole.dataset import Dataset
from recsys.scoring.counterfactual import Counterfactual
from toy_scores import Product, product_view

MEAN = torch.tensor([0.5, 0.25, 0.5])
WHITENING = torch.tensor([[3.0], [4.0], [0.0]])


class Colour:
    """The mean colour of a picture."""

    name, dim = "colour", 3

    def __init__(self) -> None:
        self.pictures = 0

    def encode_images(self, images: Tensor) -> Tensor:
        self.pictures += len(images)
        return images.mean((2, 3))


class Blind(Product):
    """A ranker without a gradient."""

    def item_embeddings(
        self, items: Int[Tensor, " batch"], features: Float[Tensor, "batch width"]
    ) -> Float[Tensor, "batch dim"]:
        return features.detach()


def tastes(dataset: Dataset) -> list[float]:
    """Padding, then 2, -1, 2, -1 ... by internal id."""
    return [0.0, *(2.0 if at % 2 else -1.0 for at in range(1, dataset.n_users))]


@pytest.fixture
def reward(dataset: Dataset) -> RankerReward:
    view = product_view(tastes(dataset), [0.0, *([-1.0, 1.0] * dataset.n_items)][: dataset.n_items])
    return RankerReward(view, dataset, Colour(), MEAN, WHITENING)


def asked(dataset: Dataset, users: Sequence[int], item: int) -> list[Request]:
    tokens = [str(token) for token in dataset.user_tokens[list(users)]]
    return [Request(token, str(dataset.item_tokens[item]), (), seed=0) for token in tokens]


def test_a_picture_is_encoded_once_for_all_who_score_it(reward: RankerReward) -> None:
    dataset, images = reward.dataset, torch.linspace(0, 1, 96).view(2, 3, 4, 4).requires_grad_()
    users = [asked(dataset, (1, 2, 3), 5), asked(dataset, (4, 2, 1), 7)]
    assert isinstance(reward, SharedReward)
    assert isinstance(reward.encoder, Colour)
    scores = score_users(reward, users, images)
    assert reward.encoder.pictures == 2
    for column in range(3):
        alone = reward([of_one[column] for of_one in users], images)
        torch.testing.assert_close(scores[:, column], alone)
    # Whitened colour times taste, in deviations of the user's scores: |taste| times that of the items' numbers.
    whitened = (images.mean((2, 3)) - MEAN) @ WHITENING[:, 0]
    deviation = torch.tensor([0.0, *([-1.0, 1.0] * dataset.n_items)][1 : dataset.n_items]).std(correction=0)
    signs = torch.tensor([[1.0, -1.0, 1.0], [-1.0, -1.0, 1.0]])
    torch.testing.assert_close(scores, signs * whitened[:, None] / deviation)
    scores.sum().backward()
    assert images.grad is not None
    assert (images.grad[0, :2] > 0).all()


def test_the_taste_vector_is_the_unit_gradient_before_centring_and_whitening(reward: RankerReward) -> None:
    """The score is taste x (3 red + 4 green) + constant: (.6, .8, 0), or its opposite, wherever it is taken."""
    assert isinstance(reward, DirectedReward)
    with torch.no_grad():
        found = reward.direction(asked(reward.dataset, (1, 2), 5), torch.tensor([[0.1, 0.2, 0.3], [0.9, 0.0, 0.4]]))
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.8, 0.0], [-0.6, -0.8, 0.0]]))
    assert not found.requires_grad


def test_a_score_without_gradient_has_no_direction(dataset: Dataset) -> None:
    view = Counterfactual(Blind(tastes(dataset), [1.0] * dataset.n_items))
    blind = RankerReward(view, dataset, Colour(), MEAN, WHITENING)
    with pytest.raises(ValueError, match="the ranker's score has no gradient in the features of a picture"):
        blind.direction(asked(dataset, (1,), 5), torch.ones(1, 3))
