"""Feature sources without a generator, on a ranker whose score is the product of a person's and a picture's number."""

import math

import numpy as np
import torch

from ragar_rec.evaluation.controls import ItemFeatures
from ragar_rec.evaluation.substitutes import BestOfPool, RetrievedFeatures, pool_scores
from toy_scores import product_view


def test_the_best_of_a_pool_is_the_rankers_choice_for_each_person() -> None:
    """Person 1 likes large numbers, person 2 small ones; scores over the items 1, 2, 3 deviate by sqrt(2 / 3)."""
    view = product_view([0, 1, -1], [0, 1, 2, 3])
    pool = torch.tensor([[2.0], [5.0], [-3.0]])
    scores = pool_scores(view, torch.tensor([1, 2]), torch.tensor([1, 1]), pool) * math.sqrt(2 / 3)
    torch.testing.assert_close(scores, torch.tensor([[2.0, 5, -3], [-2, -5, 3]]))
    originals = ItemFeatures(torch.tensor([[0.0], [1], [0], [3]]), torch.tensor([False, True, False, True]))
    source = BestOfPool(view, originals, pool)
    features, present = source.features(1, np.array([1, 2]))
    assert features[0].tolist() == [5]
    assert present.tolist() == [True, False]  # item 2 has no picture that another could replace
    assert source.features(2, np.array([1]))[0].tolist() == [[-3]]


def test_what_is_retrieved_is_near_the_item_and_not_the_item() -> None:
    """Item 3 has the embedding (1, 1); of the history (1, 2, 3, 5) the items 1 and 5, with (1, .9) and (1, .8), are
    nearest. By minmax over the two the weights are softmax(1, 0) = (.731, .269): P_ret is .731 (1, 0) + .269 (2, 0).
    The stranger's history holds item 2 alone: P_ret is its features. User 9 has no history. Item 4 has no picture.
    """
    table = torch.tensor([[0.0, 0], [1, 0], [0, 1], [1, 1], [0, 0], [2, 0]])
    originals = ItemFeatures(table, table.any(1))
    embeddings = torch.tensor([[0.0, 0], [1, 0.9], [0, 1], [1, 1], [1, 0], [1, 0.8]])
    histories = {2: np.array([1, 2, 3, 5]), 7: np.array([2]), 9: np.array([], np.int64)}
    source = RetrievedFeatures(histories, embeddings, originals, k=2, length=4)
    features, present = source.features(2, np.array([3, 4]))
    torch.testing.assert_close(features[0], torch.tensor([1.2689, 0.0]), atol=1e-4, rtol=0)
    assert present.tolist() == [True, False]
    stranger = RetrievedFeatures(histories, embeddings, originals, k=2, length=4, owner=lambda *_: 7)
    assert stranger.features(2, np.array([3]))[0].tolist() == [[0, 1]]
    assert not source.features(9, np.array([3]))[1].any()
    latest = RetrievedFeatures(histories, embeddings, originals, k=2, length=1)
    assert latest.features(2, np.array([3]))[0].tolist() == [[2, 0]]
