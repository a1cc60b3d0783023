"""PCA whitening of features: a linear map that gives every direction that it keeps the same variance."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32


def whitening_map(
    centred: Float[np.ndarray, "items width"], components: int
) -> Float32[np.ndarray, "width components"]:
    """The map W = V / s * sqrt(n / components) of PCA whitening, where U s V^T is the SVD of the n centred rows.

    The mapped rows X W have covariance I / components: their mean squared norm is 1, the scale of L2-normalised
    features, and directions of little variance count as much as those of large variance. A new row is mapped by
    subtracting the same mean and multiplying by W, which is differentiable.

    Args:
        centred: features without their mean, one row per item that has any.
        components: directions of largest variance that are kept.

    Raises:
        ValueError: the features vary in fewer directions than `components`.
    """
    n_items, width = centred.shape
    rows = centred.astype(np.float64)
    # Eigenvalues of X^T X, ascending, are the squared singular values; the matrix is width x width whatever n is.
    squared, directions = np.linalg.eigh(rows.T @ rows)
    # X^T X halves the digits of s: below this share of the largest, s^2 is rounding.
    rank = int((squared > squared[-1] * max(n_items, width) * np.finfo(np.float64).eps).sum())
    if components > rank:
        raise ValueError(
            f"whitening to {components} components was asked for, but {n_items} rows of {width} features vary in "
            f"{rank} directions only"
        )
    kept, scales = directions[:, ::-1][:, :components], np.sqrt(squared[::-1][:components])
    # The sign of an eigenvector is LAPACK's choice: here its coordinate of largest magnitude is positive.
    largest = np.take_along_axis(kept, np.abs(kept).argmax(axis=0)[None], axis=0)
    return (kept * np.sign(largest) / scales * np.sqrt(n_items / components)).astype(np.float32)
