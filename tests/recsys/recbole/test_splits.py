import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.recbole.splits import by_label, cold_start


def test_labels_are_parts() -> None:
    train, valid, test = by_label(np.array([0.0, 2, 1, 0, 2]))
    assert (train.tolist(), valid.tolist(), test.tolist()) == ([0, 3], [2], [1, 4])


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (
            [0, 1.5, 3],
            r"interaction 2 is labelled 1\.5, but must be labelled 0 \(train\), 1 \(valid\) or 2 .*; 2 are not",
        ),
        ([0, np.nan], "interaction 2 is labelled nan"),
        ([1, 2], "none of the 2 interactions is labelled 0: there is nothing to train on"),
    ],
)
def test_other_labels_are_refused(labels: list, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        by_label(np.array(labels, float))


@given(st.lists(st.integers(1, 30), min_size=60, max_size=200), st.integers(0, 9))
def test_cold_items_are_in_one_part_with_all_their_interactions(clicks: list[int], seed: int) -> None:
    """The number of distinct items n gives round(n / 5) cold ones, the smaller half of them for validation."""
    items = np.array([*clicks, *range(1, 11)])
    parts = cold_start(items, 0.2, seed)
    assert sorted(np.concatenate(parts)) == list(range(len(items)))
    train, valid, test = (set(items[rows]) for rows in parts)
    assert not train & valid and not train & test and not valid & test
    cold = round(len(set(items)) / 5)
    assert (len(valid), len(test)) == (cold // 2, cold - cold // 2)


def test_the_seed_draws_the_items() -> None:
    items = np.arange(50) + 7
    first, again, other = (cold_start(items, 0.2, seed)[2].tolist() for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0, "takes a share of the items between 0 and 1, got 0"),
        (1.0, "between 0 and 1, got 1.0"),
        ([0.1, 0.1], r"between 0 and 1, got \[0\.1, 0\.1\]"),
        (0.1, "0.1 of 10 items are 1: a cold-start split withholds at least 2, not all"),
        (0.99, "0.99 of 10 items are 10"),
    ],
)
def test_a_share_that_leaves_a_part_empty(share: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        cold_start(np.arange(10), share, 0)
