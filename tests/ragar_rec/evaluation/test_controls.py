import numpy as np
import pytest
import torch

from ragar_rec.evaluation.controls import (
    ItemFeatures,
    PersonalFeatures,
    RandomItem,
    ShuffledUserSampler,
    noise_pictures,
)
from recsys.recbole.dataset import Dataset

FEATURES = ItemFeatures(torch.arange(10.0).view(5, 2), torch.tensor([False, True, True, False, True]))
ITEMS = np.array([1, 3, 4])


def interacted(dataset: Dataset, user: int) -> set[int]:
    return {item for users, items in vars(dataset.interactions).values() for item in items[users == user].tolist()}


def test_item_features_are_the_same_for_every_user():
    features, present = FEATURES.features(1, ITEMS)
    assert features.tolist() == [[2, 3], [6, 7], [8, 9]]
    assert present.tolist() == [True, False, True]
    assert torch.equal(FEATURES.features(2, ITEMS)[0], features)


def test_a_random_item_is_another_one_with_a_picture_and_the_same_again():
    source = RandomItem(FEATURES, seed=0)
    drawn: set[tuple[int, int]] = set()
    for user in range(40):
        features, present = source.features(user, ITEMS)
        assert present.tolist() == [True, False, True]
        assert torch.equal(features, RandomItem(FEATURES, seed=0).features(user, ITEMS)[0])
        for item, row in zip(ITEMS.tolist(), (features[:, 0] / 2).int().tolist(), strict=True):
            drawn.add((item, row))
    # of the pictured items 1, 2, 4 whatever is not the item itself, and all of it in forty draws
    assert drawn == {(1, 2), (1, 4), (3, 1), (3, 2), (3, 4), (4, 1), (4, 2)}


def test_a_random_item_does_not_depend_on_its_company():
    source = RandomItem(FEATURES, seed=3)
    together, _ = source.features(9, ITEMS)
    alone, _ = source.features(9, ITEMS[2:])
    assert torch.equal(alone[0], together[2])


def test_personal_features_are_those_of_the_users_own_pictures_or_of_the_owners():
    pictures = {(1, 3): torch.tensor([1.0, 1]), (2, 3): torch.tensor([2.0, 2]), (2, 4): torch.tensor([4.0, 4])}
    features, present = PersonalFeatures(pictures, 2).features(1, ITEMS)
    assert (features.tolist(), present.tolist()) == ([[0, 0], [1, 1], [0, 0]], [False, True, False])
    features, present = PersonalFeatures(pictures, 2, owner=lambda user, items: 2).features(1, ITEMS)
    assert (features.tolist(), present.tolist()) == ([[0, 0], [2, 2], [4, 4]], [False, True, True])


def test_a_shuffled_user_never_interacted_with_any_listed_item(dataset: Dataset):
    """One item at a time: each user interacted with half of the 24 films, so that there is always another user."""
    shuffled_user = ShuffledUserSampler(dataset, 0, range(1, 31))
    for user in range(1, 31):
        for item in sorted(interacted(dataset, user)):
            other = shuffled_user(user, np.array([item]))
            assert other != user
            assert item not in interacted(dataset, other)


def test_where_every_user_interacted_with_some_item_the_one_with_the_fewest_is_taken(dataset: Dataset):
    """All 24 films are listed: every user interacted with 12 of them."""
    assert ShuffledUserSampler(dataset, 0, [1, 2, 3])(1, np.arange(1, 25)) in (2, 3)
    listed = sorted(interacted(dataset, 2))[:6]
    overlaps = {other: len(interacted(dataset, other) & set(listed)) for other in range(3, 31)}
    chosen = ShuffledUserSampler(dataset, 0, range(3, 31))(2, np.array(listed))
    assert overlaps[chosen] == min(overlaps.values())


def test_a_shuffled_user_does_not_depend_on_the_order_of_the_list(dataset: Dataset):
    items = np.array([3, 17])
    first = [ShuffledUserSampler(dataset, 0, range(1, 31))(user, items) for user in range(1, 31)]
    again = [ShuffledUserSampler(dataset, 0, range(1, 31))(user, items[::-1].copy()) for user in range(1, 31)]
    other_seed = [ShuffledUserSampler(dataset, 1, range(1, 31))(user, items) for user in range(1, 31)]
    assert first == again != other_seed
    assert len(set(first)) > 3


def test_a_single_user_cannot_be_shuffled(dataset: Dataset):
    with pytest.raises(ValueError, match="shuffled_user needs at least two people"):
        ShuffledUserSampler(dataset, 0, [1])(1, np.array([1]))


def test_noise_is_uniform_and_depends_on_seed_and_item_alone():
    pictures = noise_pictures(["a", "b"], (64, 48), seed=0)
    assert pictures.shape == (2, 3, 64, 48)
    # Of a uniform number the mean is 1/2 and the variance 1/12; of 9,216 the mean's standard error is 0.003.
    assert abs(float(pictures[0].mean()) - 1 / 2) < 0.015
    assert abs(float(pictures[0].var()) - 1 / 12) < 0.005
    assert torch.equal(noise_pictures(["b"], (64, 48), seed=0)[0], pictures[1])
    assert not torch.equal(pictures[0], pictures[1])
    assert not torch.equal(noise_pictures(["b"], (64, 48), seed=1)[0], pictures[1])
