"""Headroom of score matrices whose best pictures are known."""

import math

import pytest
import torch

from ragar_rec.evaluation.headroom import headroom, personal_share


def test_the_best_picture_for_the_person_a_stranger_and_everybody() -> None:
    """User 0 likes picture 0 (gain 3), the stranger picture 2, everybody else picture 1: 0 gets 3, -1 and 1.

    For user 1, everybody else is user 0 and likes picture 0: user 1 gets 0 by it. The spread of (3, 1, -1) is
    sqrt(8 / 3).
    """
    own = torch.tensor([[3.0, 1.0, -1.0], [0.0, 2.0, 1.0]])
    stranger = torch.tensor([[0.0, 0.0, 5.0], [0.0, 4.0, 0.0]])
    gains = headroom(own, stranger)
    assert gains["own"].tolist() == [3, 2]
    assert gains["stranger"].tolist() == [-1, 2]
    assert gains["everybody"].tolist() == [1, 0]
    assert gains["spread"][0].item() == pytest.approx(math.sqrt(8 / 3))


def test_the_share_of_the_reaction_that_differs_between_people() -> None:
    """Everybody alike but for a level: 0. Opposite tastes: 1. A common part c = (1, -1) and a personal one p = (1, -1)
    of opposite signs, rows c + p and c - p: the variance is c^2 + p^2 = 2, of which 1 is personal.
    """
    common = torch.tensor([[1.0, -1.0], [1.0, -1.0]])
    taste = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    assert personal_share(common + torch.tensor([[0.0], [7.0]])) == 0
    assert personal_share(taste) == 1
    assert personal_share(common + taste) == pytest.approx(0.5)
    assert math.isnan(personal_share(torch.zeros(2, 2)))
