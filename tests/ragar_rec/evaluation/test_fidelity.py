"""Fréchet distance against closed forms, and copies in a space where every distance can be counted."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from torch import Tensor

from ragar_rec.evaluation.fidelity import closeness, frechet_distance, identity, nearest, palette_shift, psnr


def sample_with(mean: list[float], covariance: list[list[float]], n: int, seed: int) -> Tensor:
    """A sample whose own mean and covariance are exactly these."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, len(mean)))
    rows -= rows.mean(0)
    rows = rows @ np.linalg.inv(np.linalg.cholesky(np.cov(rows.T)).T)
    return torch.from_numpy(rows @ np.linalg.cholesky(np.array(covariance)).T + mean)


def test_gaussians_with_parallel_axes() -> None:
    """Means 3 and 4 apart: 25. Deviations 1 and 2 against 4 and 7: 9 + 25. Together 59."""
    a = sample_with([0.0, 0.0], [[1.0, 0.0], [0.0, 4.0]], 30, 0)
    b = sample_with([3.0, 4.0], [[16.0, 0.0], [0.0, 49.0]], 50, 1)
    assert frechet_distance(a, b) == pytest.approx(59.0, abs=1e-9)
    assert frechet_distance(b, a) == pytest.approx(59.0, abs=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-9)


def test_gaussians_whose_covariances_do_not_commute() -> None:
    """S = [[2, 1], [1, 2]], T = diag(1, 4): a 2x2 root has trace sqrt(tr + 2 sqrt(det)). ST = [[2, 4], [1, 8]] has
    trace 10 and determinant 12. Distance 4 + 5 - 2 sqrt(10 + 2 sqrt(12)).
    """
    a = sample_with([0.0, 0.0], [[2.0, 1.0], [1.0, 2.0]], 20, 0)
    b = sample_with([0.0, 0.0], [[1.0, 0.0], [0.0, 4.0]], 25, 1)
    assert frechet_distance(a, b) == pytest.approx(9 - 2 * math.sqrt(10 + 2 * math.sqrt(12)), abs=1e-9)


def test_two_pictures_a_side() -> None:
    """Two rows make a covariance of one direction: (2, 0) and (0, 0) have S = diag(2, 0), (0, 1) and (0, -1) have
    T = diag(0, 2); ST = 0, the means are 1 apart: 1 + 2 + 2.
    """
    a, b = torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.0, 1.0], [0.0, -1.0]])
    assert frechet_distance(a, b) == pytest.approx(5.0, abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 12), st.integers(2, 12), st.integers(1, 8), st.integers(0, 1000))
def test_the_root_of_a_matrix_gives_the_same(n: int, m: int, dim: int, seed: int) -> None:
    """scipy's root of S T + tiny, with fewer and with more samples than dimensions."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(n, dim)), rng.normal(size=(m, dim)) * 2 + 1
    s, t = (np.atleast_2d(np.cov(rows.T)) for rows in (a, b))
    values, vectors = np.linalg.eigh(s)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    inner = root @ t @ root
    middle = np.asarray(sqrtm(inner + 1e-14 * np.eye(dim)))
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s + t) - 2 * np.trace(middle)
    assert frechet_distance(torch.from_numpy(a), torch.from_numpy(b)) == pytest.approx(expected.real, abs=1e-5)


def test_what_has_no_frechet_distance() -> None:
    with pytest.raises(ValueError, match="at least 2 pictures, got 1 and 3"):
        frechet_distance(torch.zeros(1, 2), torch.zeros(3, 2))
    with pytest.raises(ValueError, match="not finite"):
        frechet_distance(torch.full((2, 2), torch.nan), torch.zeros(3, 2))


def test_psnr_by_hand() -> None:
    """An error of .1 everywhere: 10 log10(1 / .01) = 20 dB."""
    assert psnr(torch.full((1, 3, 2, 2), 0.6), torch.full((1, 3, 2, 2), 0.5)) == pytest.approx(20.0, abs=1e-4)


def line(*places: float) -> Tensor:
    return torch.tensor(places)[:, None]


def test_nearest_on_a_line() -> None:
    distance, row = nearest(line(0.0, 3.4, 9.0), line(1.0, 3.0, 8.0))
    torch.testing.assert_close(distance, torch.tensor([1.0, 0.4, 1.0]))
    assert row.tolist() == [0, 1, 2]
    distance, row = nearest(line(0.0, 3.4, 9.0), line(1.0, 3.0, 8.0), torch.tensor([0, -1, 2]))
    torch.testing.assert_close(distance, torch.tensor([3.0, 0.4, 6.0]))
    assert row.tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="among 1 pictures"):
        nearest(line(0.0), line(0.0), torch.tensor([0]))


def test_a_copy_is_at_distance_zero_among_many_long_vectors() -> None:
    pool = torch.rand(300, 4000, generator=torch.Generator().manual_seed(0))
    distance, row = nearest(pool[[7, 200]], pool)
    assert distance.tolist() == [0.0, 0.0]
    assert row.tolist() == [7, 200]


def test_closeness_on_a_line() -> None:
    """Training pictures at 0, 1, 3, 7, 15: nearest others 1, 1, 2, 4, 8 away; median 2, 5 % quantile 1.

    Pictures at .5, 2.5, 6, 16.5, 15: .5 from 0 (whose twin is 1 away), .5 from 3 (2 away), 1 from 7 (4), 1.5 from 15
    (8), 0 from 15: all nearer than the twins, all below the median, three below 1. At 100: 85 from 15.
    """
    training = line(0.0, 1.0, 3.0, 7.0, 15.0)
    own, _ = nearest(training, training, torch.arange(5))
    assert own.tolist() == [1.0, 1.0, 2.0, 4.0, 8.0]
    shares, distance, row = closeness(line(0.5, 2.5, 6.0, 16.5, 15.0, 100.0), training, own)
    assert distance.tolist() == [0.5, 0.5, 1.0, 1.5, 0.0, 85.0]
    assert row.tolist() == [0, 2, 3, 4, 4, 4]
    assert shares.closer_than_training == pytest.approx(5 / 6)
    assert shares.below_median == pytest.approx(5 / 6)
    assert shares.below_5_percent == pytest.approx(3 / 6)
    assert (shares.median, shares.training_median) == (0.75, 2.0)
    assert shares.neighbours == 4


def test_what_a_picture_was_made_from_does_not_count_and_a_sample_sets_the_scale() -> None:
    """At 6, made from the picture at 7: then 3 is the nearest, 3 away, while 3's own twin is 2 away.

    Compared with the pictures at 7 and 15 alone the median is 6 and the 5 % quantile 4 + .05 * 4: 3 is below both.
    """
    training = line(0.0, 1.0, 3.0, 7.0, 15.0)
    shares, distance, row = closeness(line(6.0), training, torch.tensor([4.0, 8.0]), torch.tensor([3]))
    assert (distance.tolist(), row.tolist()) == ([3.0], [2])
    assert shares.closer_than_training == 0.0
    assert (shares.below_median, shares.training_median) == (1.0, 6.0)
    assert shares.below_5_percent == 1.0


def test_identity_is_the_mean_cosine_without_the_catalogues_mean() -> None:
    """Around (1, 1): (1, 0) against (2, 0) is parallel, (0, 3) against (1, 1) makes 45 degrees."""
    mean = torch.tensor([1.0, 1.0])
    references = torch.tensor([[2.0, 0.0], [1.0, 1.0]]) + mean
    rendered = torch.tensor([[1.0, 0.0], [0.0, 3.0]]) + mean
    assert identity(references, references, mean) == pytest.approx(1)
    assert identity(rendered, references, mean) == pytest.approx((1 + math.sqrt(0.5)) / 2)


def test_the_palette_shift_is_the_share_of_the_way() -> None:
    """Two constant pictures on the way from black to white and from black to red: a quarter of it each, then mixed."""
    black = torch.zeros(2, 3, 4, 4)
    goal = torch.stack([torch.ones(3, 4, 4), torch.tensor([1.0, 0, 0])[:, None, None].expand(3, 4, 4)])
    grey = torch.full_like(black, 0.5)
    assert palette_shift(grey + goal / 4, grey, black, goal) == pytest.approx(0.25)
    assert palette_shift(grey, grey, black, goal) == 0
    # the white one goes all the way (3 of the 4 channels that move), the red one none
    only_white = grey + goal * torch.tensor([1.0, 0.0]).view(2, 1, 1, 1)
    assert palette_shift(only_white, grey, black, goal) == pytest.approx(3 / 4)
