"""EASE: a linear item-item model whose weights have a closed form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import psutil
import scipy.sparse
import torch
from jaxtyping import Float, Float32, Float64, Int
from scipy.linalg import get_lapack_funcs
from torch import Tensor

from recsys.rankers.defaults import DEFAULTS
from recsys.recbole.isolation import quiet
from recsys.recbole.models import GeneralRecommender, InputType, ModelType
from recsys.settings import check_positive

BYTES_PER_ENTRY = 8 + 4
"""Peak memory of the fit per entry of the items x items matrix: the float64 inverse, then the float32 weights."""

# Rows of the Gram matrix that are computed or copied at a time.
_BLOCK = 1024


class EASE(GeneralRecommender):
    """EASE (Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data", eq. 8).

    score(u, j) = sum of B_ij over the items i that u clicked in training. B minimises |X - X B|^2 + lambda |B|^2 with
    zeros on the diagonal, where X is the binary user-item matrix: B_ij = -P_ij / P_jj with P = (X^T X + lambda I)^-1.
    An item without training interactions has zeros in its row and column, so it scores 0 for everybody.

    The fit inverts an items x items matrix in float64 and keeps B in float32. It is done on the first training batch,
    and the trainer runs a single epoch, as for rankers that count. No features are read.

    Configuration: `reg_weight` is lambda.

    Raises:
        ValueError: `reg_weight` is not a positive number; in the fit, also a matrix that does not fit into memory.
    """

    type = ModelType.TRADITIONAL
    input_type = InputType.POINTWISE
    DEFAULTS: ClassVar[Mapping[str, Any]] = DEFAULTS["EASE"]

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        check_positive(config, "reg_weight")
        self.reg_weight = float(config["reg_weight"])
        users, items = (dataset.inter_feat[field].numpy() for field in (self.USER_ID, self.ITEM_ID))
        self.clicks = _binary_matrix(users, items, (self.n_users, self.n_items))
        self.item_weights: Tensor | None = None
        # The checkpoint holds the tensors that are named here (`checkpoint.ranker_tensors`).
        self.other_parameter_name = ["item_weights"]
        self.fake_loss = torch.nn.Parameter(torch.zeros(1))

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Fit the weights on the first batch; the loss is 0."""
        if self.item_weights is None:
            weights = ease_weights(self.clicks, self.reg_weight)
            self.item_weights = torch.from_numpy(weights).to(self.device)
        # The trainer calls backward(): the loss must depend on a parameter.
        return 0 * self.fake_loss.sum()

    def predict(self, interaction: Any) -> Float[Tensor, " batch"]:
        """Scores of user-item pairs."""
        histories = self._histories(interaction[self.USER_ID])
        n_clicks = torch.from_numpy(np.diff(histories.indptr)).long().to(self.device)
        clicked = torch.from_numpy(histories.indices).long().to(self.device)
        pairs = torch.arange(len(n_clicks), device=self.device).repeat_interleave(n_clicks)
        weights = self._fitted()[clicked, interaction[self.ITEM_ID][pairs]]
        return weights.new_zeros(len(n_clicks)).index_add_(0, pairs, weights)

    def full_sort_predict(self, interaction: Any) -> Float[Tensor, " flat"]:
        """Scores of all items for each user, flattened as RecBole expects them."""
        histories = self._histories(interaction[self.USER_ID])
        with quiet():
            clicks = torch.sparse_csr_tensor(
                *(torch.from_numpy(part) for part in (histories.indptr, histories.indices, histories.data)),
                size=histories.shape,
                check_invariants=False,
            )
            return (clicks.to(self.device) @ self._fitted()).flatten()

    def _histories(self, users: Int[Tensor, " batch"]) -> Any:
        """Rows of the user-item matrix, a scipy CSR matrix."""
        return self.clicks[users.cpu().numpy()]

    def _fitted(self) -> Float[Tensor, "items items"]:
        assert self.item_weights is not None, "EASE scores after training"
        return self.item_weights


def _binary_matrix(
    users: Int[np.ndarray, " clicks"], items: Int[np.ndarray, " clicks"], shape: tuple[int, int]
) -> scipy.sparse.csr_matrix:
    """The user-item matrix X in which repeated clicks count once."""
    clicks = scipy.sparse.csr_matrix((np.ones(len(users), np.float32), (users, items)), shape=shape)
    clicks.data[:] = 1  # the constructor has summed repeated positions
    return clicks


def ease_weights(clicks: scipy.sparse.csr_matrix, reg_weight: float) -> Float32[np.ndarray, "items items"]:
    """EASE's weights B in closed form, computed in float64.

    Args:
        clicks: the binary user-item matrix.
        reg_weight: lambda, added to the diagonal of X^T X; positive, so that the matrix can be inverted.

    Raises:
        ValueError: the matrix of all pairs of items does not fit into the available memory.
    """
    n_items = clicks.shape[1]
    _check_memory(n_items)
    gram = _gram(clicks)
    gram[np.diag_indices(n_items)] += reg_weight
    inverse = _inverse_in_place(gram)
    diagonal = inverse.diagonal().copy()
    weights = np.empty((n_items, n_items), np.float32)
    for start in range(0, n_items, _BLOCK):
        rows = slice(start, start + _BLOCK)
        weights[rows] = inverse[rows] / -diagonal
    np.fill_diagonal(weights, 0)
    return weights


def _check_memory(n_items: int) -> None:
    needed, available = n_items**2 * BYTES_PER_ENTRY, psutil.virtual_memory().available
    if needed > available:
        raise ValueError(
            f"EASE inverts a matrix of {n_items} x {n_items} items, which takes {needed / 1e9:.1f} GB of memory, and "
            f"{available / 1e9:.1f} GB are available; filter rare items by item_num_inter_interval, or choose a "
            "ranker whose memory grows with the number of interactions, such as model: LightGCN"
        )


def _gram(clicks: scipy.sparse.csr_matrix) -> Float64[np.ndarray, "items items"]:
    """X^T X as a dense matrix."""
    n_items = clicks.shape[1]
    columns, rows = clicks.astype(np.float64).tocsc(), clicks.astype(np.float64)
    gram = np.empty((n_items, n_items))
    # In blocks: a sparse product with few zeros would take more memory than the dense matrix.
    for start in range(0, n_items, _BLOCK):
        block = slice(start, start + _BLOCK)
        gram[block] = (columns[:, block].T @ rows).toarray()
    return gram


def _inverse_in_place(matrix: Float64[np.ndarray, "size size"]) -> Float64[np.ndarray, "size size"]:
    """The inverse of a symmetric positive definite matrix, in the matrix's own memory.

    `numpy.linalg.inv` would take three times the memory and twice the operations.
    """
    # LAPACK overwrites only arrays in column-major order; the transpose of a symmetric matrix is the matrix itself.
    cholesky, invert = get_lapack_funcs(("potrf", "potri"), dtype=np.float64)
    factor, failed = cholesky(matrix.T, lower=1, overwrite_a=1, clean=0)
    assert not failed, "X^T X + lambda I is positive definite"
    inverse, failed = invert(factor, lower=1, overwrite_c=1)
    assert not failed, "a Cholesky factor has no zeros on its diagonal"
    for start in range(0, len(inverse), _BLOCK):  # LAPACK fills one triangle: the other one is copied.
        block, rest = slice(start, start + _BLOCK), slice(start + _BLOCK, None)
        inverse[block, rest] = inverse[rest, block].T
        lower = np.tril(inverse[block, block])
        inverse[block, block] = lower + np.tril(lower, -1).T
    return inverse
