"""The user-item adjacency, and sparse matrices from edges."""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# Parts of torch and faiss carry no types; what is ours is checked strictly.

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from recsys.recbole.isolation import quiet

Normalisation = Literal["reference", "symmetric"]


Edges = tuple[Int[Tensor, " edges"], Int[Tensor, " edges"], Float[Tensor, " edges"]]


def csr(row: Int[Tensor, " edges"], column: Int[Tensor, " edges"], value: Float[Tensor, " edges"], size: int) -> Tensor:
    """A square torch CSR matrix; values of repeated positions are added up once."""
    with quiet():
        coo = torch.sparse_coo_tensor(torch.stack([row, column]), value, (size, size), check_invariants=False)
        return coo.coalesce().to_sparse_csr()


def interaction_adjacency(
    users: Int[Tensor, " edges"],
    items: Int[Tensor, " edges"],
    *,
    n_users: int,
    n_items: int,
    normalisation: Normalisation = "symmetric",
) -> Tensor:
    """The normalised user-item graph as torch CSR. Users come first: item `i` is node `n_users + i`.

    `symmetric`: D^-1/2 A D^-1/2 (He et al. 2020, LightGCN, sec. 3.1.3), spectral radius at most 1; a node without
    edges keeps an empty row. `reference`: D^-1 (A + I), what MICRO's reference code computes; every row sums to 1.
    Repeated clicks count once.

    Raises:
        ValueError: there are no interactions.
    """
    if len(users) == 0:
        raise ValueError(f"a graph needs interactions, got 0 for {n_users} users and {n_items} items")
    size = n_users + n_items
    pairs = torch.unique(users * n_items + items)
    left, right = pairs // n_items, n_users + pairs % n_items
    row, column = torch.cat([left, right]), torch.cat([right, left])
    if normalisation == "reference":
        loops = torch.arange(size, device=row.device)
        row, column = torch.cat([row, loops]), torch.cat([column, loops])
    degree = torch.bincount(row, minlength=size).float()
    if normalisation == "reference":
        value = 1 / degree[row]
    else:
        value = degree[row].rsqrt() * degree[column].rsqrt()
    return csr(row, column, value, size)


def _inverse_root(degree: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """deg^-1/2, and 0 where the degree is not positive: such a node has no edges instead of infinite ones."""
    positive = degree > 0
    return torch.where(positive, degree, torch.ones_like(degree)).rsqrt() * positive
