import numpy as np
import pytest
import torch

from ragar_rec.evaluation.controls import Personal, RandomItem, Strangers, Table
from recsys.recbole.dataset import Dataset

TABLE = Table(torch.arange(10.0).view(5, 2), torch.tensor([False, True, True, False, True]))
ITEMS = np.array([1, 3, 4])


def touched(dataset: Dataset, user: int) -> set[int]:
    return {item for users, items in vars(dataset.interactions).values() for item in items[users == user].tolist()}


def test_a_table_gives_everybody_the_same():
    features, there = TABLE.features(1, ITEMS)
    assert features.tolist() == [[2, 3], [6, 7], [8, 9]]
    assert there.tolist() == [True, False, True]
    assert torch.equal(TABLE.features(2, ITEMS)[0], features)


def test_a_random_item_is_another_one_with_a_picture_and_the_same_again():
    source = RandomItem(TABLE, seed=0)
    drawn: set[tuple[int, int]] = set()
    for user in range(40):
        features, there = source.features(user, ITEMS)
        assert there.tolist() == [True, False, True]
        assert torch.equal(features, RandomItem(TABLE, seed=0).features(user, ITEMS)[0])
        for item, row in zip(ITEMS.tolist(), (features[:, 0] / 2).int().tolist(), strict=True):
            drawn.add((item, row))
    # of the pictured items 1, 2, 4 whatever is not the item itself, and all of it in forty draws
    assert drawn == {(1, 2), (1, 4), (3, 1), (3, 2), (3, 4), (4, 1), (4, 2)}


def test_a_random_item_does_not_depend_on_its_company():
    source = RandomItem(TABLE, seed=3)
    together, _ = source.features(9, ITEMS)
    alone, _ = source.features(9, ITEMS[2:])
    assert torch.equal(alone[0], together[2])


def test_personal_pictures_are_the_users_own_or_a_strangers():
    pictures = {(1, 3): torch.tensor([1.0, 1]), (2, 3): torch.tensor([2.0, 2]), (2, 4): torch.tensor([4.0, 4])}
    features, there = Personal(pictures, 2).features(1, ITEMS)
    assert (features.tolist(), there.tolist()) == ([[0, 0], [1, 1], [0, 0]], [False, True, False])
    features, there = Personal(pictures, 2, owner=lambda user, items: 2).features(1, ITEMS)
    assert (features.tolist(), there.tolist()) == ([[0, 0], [2, 2], [4, 4]], [False, True, True])


def test_strangers_never_interacted_with_any_listed_item(dataset: Dataset):
    """One item at a time: half of the 24 films are unknown to each person, so a stranger is always found."""
    strangers = Strangers(dataset, 0, range(1, 31))
    for user in range(1, 31):
        for item in sorted(touched(dataset, user)):
            other = strangers(user, np.array([item]))
            assert other != user
            assert item not in touched(dataset, other)


def test_where_everybody_touched_some_item_the_one_who_touched_fewest_stands_in(dataset: Dataset):
    """All 24 films are listed: everybody touched 12 of them."""
    assert Strangers(dataset, 0, [1, 2, 3])(1, np.arange(1, 25)) in (2, 3)
    listed = sorted(touched(dataset, 2))[:6]
    overlaps = {other: len(touched(dataset, other) & set(listed)) for other in range(3, 31)}
    chosen = Strangers(dataset, 0, range(3, 31))(2, np.array(listed))
    assert overlaps[chosen] == min(overlaps.values())


def test_strangers_are_the_same_again_whatever_the_order_of_the_list(dataset: Dataset):
    items = np.array([3, 17])
    one = [Strangers(dataset, 0, range(1, 31))(user, items) for user in range(1, 31)]
    again = [Strangers(dataset, 0, range(1, 31))(user, items[::-1].copy()) for user in range(1, 31)]
    other = [Strangers(dataset, 1, range(1, 31))(user, items) for user in range(1, 31)]
    assert one == again != other
    assert len(set(one)) > 3


def test_a_single_person_has_no_stranger(dataset: Dataset):
    with pytest.raises(ValueError, match="shuffled_user needs at least two people"):
        Strangers(dataset, 0, [1])(1, np.array([1]))
