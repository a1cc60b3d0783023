"""Retrieval: cosines, ranks, weights and the weighted mean, by hand."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from generation.ragar.retrieval import aggregate, retrieval_weights, select, similarities, with_taste


def test_similarities_are_cosines_and_a_zero_vector_is_like_nothing() -> None:
    reference = torch.tensor([[3.0, 4.0]])
    history = torch.tensor([[[6.0, 8.0], [4.0, -3.0], [0.0, 0.0], [-3.0, -4.0], [1.0, 0.0]]])
    torch.testing.assert_close(similarities(reference, history), torch.tensor([[1.0, 0.0, 0.0, -1.0, 0.6]]))


def test_a_taste_shares_the_score_with_likeness() -> None:
    """Likeness .2, .4, .6 is -a, 0, a with a = sqrt(3/2); fit 1, 0, .5 (a cosine, whatever the length) is a, -a, 0."""
    likeness = torch.tensor([[0.2, 0.4, 0.6, 99.0]])
    features = torch.tensor([[[3.0, 0.0], [0.0, 7.0], [1.0, math.sqrt(3)], [-5.0, 0.0]]])
    taste, present, a = torch.tensor([[1.0, 0.0]]), torch.tensor([[True, True, True, False]]), math.sqrt(1.5)
    for share, expected in ((0.0, [-a, 0, a]), (1.0, [a, -a, 0]), (0.25, [-a / 2, -a / 4, 3 * a / 4])):
        scores = with_taste(likeness, taste, features, present, share)
        torch.testing.assert_close(scores[:, :3], torch.tensor([expected]), atol=1e-6, rtol=0)


def test_who_has_no_taste_or_a_history_of_one_is_retrieved_by_likeness_alone() -> None:
    likeness, features = torch.tensor([[0.1, 0.9], [0.4, 0.0]]), torch.eye(2).expand(2, 2, 2)
    present = torch.tensor([[True, True], [True, False]])
    scores = with_taste(likeness, torch.tensor([[0.0, 0.0], [1.0, 0.0]]), features, present, 0.5)
    torch.testing.assert_close(scores[0], torch.tensor([-0.5, 0.5]), atol=1e-6, rtol=0)
    assert scores[1, 0] == 0


def test_top_k_and_next_k() -> None:
    scores = torch.tensor([[0.1, 0.9, 0.5, 0.7, 0.3]])
    present = torch.ones(1, 5, dtype=torch.bool)
    top, exists = select(scores, present, 2)
    assert top.tolist() == [[1, 3]]
    assert exists.all()
    following, exists = select(scores, present, 2, offset=2)
    assert following.tolist() == [[2, 4]]
    assert exists.all()


def test_equal_scores_keep_the_order_of_the_history() -> None:
    chosen, _ = select(torch.tensor([[0.5, 0.5, 0.5, 0.9]]), torch.ones(1, 4, dtype=torch.bool), 3)
    assert chosen.tolist() == [[3, 0, 1]]


def test_k_larger_than_the_history_gives_what_there_is() -> None:
    scores = torch.tensor([[0.2, 0.4], [0.9, 0.1]])
    present = torch.tensor([[True, True], [False, True]])
    chosen, exists = select(scores, present, 4)
    assert exists.tolist() == [[True, True, False, False], [True, False, False, False]]
    assert chosen[0, :2].tolist() == [1, 0]
    assert chosen[1, 0] == 1  # the absent item is not retrieved, however high its score
    assert ((chosen >= 0) & (chosen < 2)).all()  # every position can be gathered


def test_next_k_of_a_short_history_exists_in_part_or_not_at_all() -> None:
    present = torch.ones(1, 3, dtype=torch.bool)
    _, exists = select(torch.tensor([[0.3, 0.2, 0.1]]), present, 2, offset=2)
    assert exists.tolist() == [[True, False]]
    _, exists = select(torch.tensor([[0.3, 0.2, 0.1]]), present, 3, offset=3)
    assert exists.tolist() == [[False, False, False]]


def test_k_must_be_positive() -> None:
    with pytest.raises(ValueError, match="k >= 1, got 0"):
        select(torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool), 0)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_the_temperature_must_be_positive(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature above 0, got"):
        weights([0.5, 0.6], temperature=temperature)


def weights(scores: list[float], **settings: object) -> list[float]:
    row = torch.tensor([scores])
    return retrieval_weights(row, torch.ones_like(row, dtype=torch.bool), **settings)[0].tolist()  # type: ignore[arg-type]


def test_softmax_without_normalisation() -> None:
    # e^log 1, e^log 2, e^log 5 are as 1 : 2 : 5
    logs = [0.0, math.log(2), math.log(5)]
    assert weights(logs, normalization="none") == pytest.approx([1 / 8, 2 / 8, 5 / 8])
    # half the temperature squares the ratios: 1 : 4 : 25
    assert weights(logs, normalization="none", temperature=0.5) == pytest.approx([1 / 30, 4 / 30, 25 / 30])


def test_the_softmax_of_raw_cosines_is_almost_flat() -> None:
    # the sentence in the design: .95 ... .75 gives .22 ... .18
    flat = weights([0.95, 0.90, 0.85, 0.80, 0.75], normalization="none")
    assert [round(flat[0], 2), round(flat[-1], 2)] == [0.22, 0.18]


def test_minmax() -> None:
    # .5, .6, .9 -> 0, .25, 1
    z = 1 + math.exp(0.25) + math.e
    assert weights([0.5, 0.6, 0.9], normalization="minmax") == pytest.approx([1 / z, math.exp(0.25) / z, math.e / z])


def test_zscore() -> None:
    # mean .6, deviations -.1, -.1, +.2: variance (.01 + .01 + .04) / 3 = .02, so z = -1/sqrt 2, -1/sqrt 2, sqrt 2
    low, high = math.exp(-1 / math.sqrt(2)), math.exp(math.sqrt(2))
    total = 2 * low + high
    assert weights([0.5, 0.5, 0.8], normalization="zscore") == pytest.approx([low / total, low / total, high / total])


@pytest.mark.parametrize("normalization", ["none", "minmax", "zscore"])
def test_equal_scores_and_a_single_one_share_evenly(normalization: str) -> None:
    assert weights([0.3, 0.3], normalization=normalization) == pytest.approx([0.5, 0.5])
    assert weights([0.3], normalization=normalization) == pytest.approx([1.0])


@pytest.mark.parametrize("normalization", ["none", "minmax", "zscore"])
def test_what_does_not_exist_weighs_nothing_and_moves_nothing(normalization: str) -> None:
    scores = torch.tensor([[0.9, 0.4, 123.0], [5.0, 6.0, 7.0]])
    exists = torch.tensor([[True, True, False], [False, False, False]])
    got = retrieval_weights(scores, exists, normalization=normalization)  # type: ignore[arg-type]
    assert got[0].tolist() == pytest.approx([*weights([0.9, 0.4], normalization=normalization), 0.0])
    assert got[1].tolist() == [0, 0, 0]


@pytest.mark.parametrize("normalization", ["none", "minmax", "zscore"])
def test_gradients_stay_finite_where_scores_are_equal_or_absent(normalization: str) -> None:
    scores = torch.tensor([[0.5, 0.5, 0.1], [0.2, 0.3, 0.4], [0.9, 0.5, 0.1]], requires_grad=True)
    exists = torch.tensor([[True, True, False], [False, False, False], [True, True, True]])
    retrieval_weights(scores, exists, normalization=normalization)[:, 0].sum().backward()  # type: ignore[arg-type]
    assert scores.grad is not None
    assert scores.grad.isfinite().all()
    assert scores.grad[1].tolist() == [0, 0, 0]
    assert scores.grad[2].abs().sum() > 0


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=6), st.floats(0.1, 10))
@settings(max_examples=50, deadline=None)
def test_weights_sum_to_one_and_keep_the_order(scores: list[float], temperature: float) -> None:
    got = weights(scores, temperature=temperature)
    assert sum(got) == pytest.approx(1, abs=1e-5)
    order = sorted(range(len(scores)), key=lambda i: scores[i])
    assert all(got[a] <= got[b] + 1e-6 for a, b in pairwise(order))


def test_aggregate_hands_on_the_weight_of_items_without_a_picture() -> None:
    features = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [9.0, 9.0]]]).repeat(3, 1, 1)
    given_weights = torch.tensor([[0.2, 0.3, 0.5]]).repeat(3, 1)
    pictured = torch.tensor([[True, True, True], [True, True, False], [False, False, False]])
    got = aggregate(given_weights, features, pictured)
    torch.testing.assert_close(got, torch.tensor([[4.7, 4.8], [0.4, 0.6], [0.0, 0.0]]))
