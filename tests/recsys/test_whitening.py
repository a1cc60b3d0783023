import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.whitening import whitening_map


def _centred(seed: int, n_items: int, width: int, spread: float = 3.0) -> np.ndarray:
    """Correlated features whose standard deviations span e^(+-spread)."""
    rng = np.random.default_rng(seed)
    values = (
        rng.normal(size=(n_items, width))
        * np.exp(rng.uniform(-spread, spread, width))
        @ rng.normal(size=(width, width))
    )
    return values - values.mean(0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(30, 80), st.integers(1, 12), st.data())
def test_whitened_features_have_mean_square_norm_1_and_equal_uncorrelated_components(
    seed: int, n_items: int, width: int, data: st.DataObject
) -> None:
    components = data.draw(st.integers(1, width))
    centred = _centred(seed, n_items, width)
    whitened = centred @ whitening_map(centred, components).astype(np.float64)
    assert np.square(whitened).sum(1).mean() == pytest.approx(1, rel=1e-4)
    np.testing.assert_allclose(whitened.T @ whitened / n_items, np.eye(components) / components, atol=1e-3 / components)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(30, 60), st.integers(1, 8))
def test_the_map_equals_the_svd_in_float64(seed: int, n_items: int, width: int) -> None:
    """V / s * sqrt(n / d), each column with its coordinate of largest magnitude positive."""
    centred = _centred(seed, n_items, width, spread=1.0)
    _, scales, directions = np.linalg.svd(centred, full_matrices=False)
    oracle = directions.T / scales * np.sqrt(n_items / width)
    oracle *= np.sign(oracle[np.abs(oracle).argmax(0), np.arange(width)])
    np.testing.assert_allclose(whitening_map(centred, width), oracle, rtol=1e-3, atol=1e-4 * np.abs(oracle).max())


@given(st.integers(0, 2**31), st.floats(1e-3, 1e3))
def test_whitened_features_do_not_depend_on_scale_or_rotation(seed: int, scale: float) -> None:
    """The rotated features are whitened to the same rows up to the signs of the components."""
    centred = _centred(seed, 40, 5, spread=1.0)
    rotation = np.linalg.qr(np.random.default_rng(seed + 1).normal(size=(5, 5)))[0]
    moved = scale * centred @ rotation
    first, second = (rows @ whitening_map(rows, 3) for rows in (centred, moved))
    # Grams instead of rows: two directions of nearly equal variance may change places.
    full_first, full_second = (rows @ whitening_map(rows, 5) for rows in (centred, moved))
    # The map is rounded to float32, at 6e-8 of its largest coordinate: rows lose that times their condition number.
    scales = np.linalg.svd(centred, compute_uv=False)
    tolerance = 1e-6 * scales[0] / scales[-1]
    np.testing.assert_allclose(full_first @ full_first.T, full_second @ full_second.T, rtol=0, atol=tolerance)
    assert np.square(first).sum() == pytest.approx(np.square(second).sum(), rel=1e-3)


def test_two_directions_by_hand() -> None:
    """Rows (+-4, 0) and (0, +-1): s = sqrt(32), sqrt(2); with n / d = 2 the map is diag(1/4, 1)."""
    centred = np.array([[4.0, 0], [-4, 0], [0, 1], [0, -1]])
    np.testing.assert_allclose(whitening_map(centred, 2), [[1 / 4, 0], [0, 1]], atol=1e-6)
    np.testing.assert_allclose(whitening_map(centred, 1), [[np.sqrt(4 / 32)], [0]], atol=1e-6)


def test_more_components_than_directions() -> None:
    """Two columns of which one is twice the other vary in one direction."""
    rows = np.random.default_rng(0).normal(size=(20, 1)) * [[1.0, 2.0]]
    with pytest.raises(
        ValueError, match="to 2 components was asked for, but 20 rows of 2 features vary in 1 directions only"
    ):
        whitening_map(rows - rows.mean(0), 2)
