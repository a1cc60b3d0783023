"""Normalised adjacency matrix of the user-item graph, and sparse matrices from edge lists."""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# Parts of torch carry no types; the code of this module is checked strictly.

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from recsys.recbole.isolation import quiet

Normalisation = Literal["reference", "symmetric"]
"""Normalisation of the user-item graph, see `interaction_adjacency`."""

# Row, column and value of every edge.
Edges = tuple[Int[Tensor, " edges"], Int[Tensor, " edges"], Float[Tensor, " edges"]]


def csr(row: Int[Tensor, " edges"], column: Int[Tensor, " edges"], value: Float[Tensor, " edges"], size: int) -> Tensor:
    """A square torch CSR matrix of edges; the values of repeated positions are summed."""
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
    """Normalised adjacency matrix of the user-item graph as torch CSR; item `i` is node `n_users + i`.

    `symmetric`: D^-1/2 A D^-1/2 (He et al. 2020, LightGCN, sec. 3.1.3), spectral radius at most 1; a node without
    edges keeps an empty row. `reference`: D^-1 (A + I), what MICRO's reference code computes; every row sums to 1.
    Repeated clicks count once.

    Raises:
        ValueError: there are no interactions.
    """
    if len(users) == 0:
        raise ValueError(f"a graph needs interactions, got 0 for {n_users} users and {n_items} items")
    size = n_users + n_items
    pairs = torch.unique(users * n_items + items)  # one number per pair: repeated clicks collapse
    user_nodes, item_nodes = pairs // n_items, n_users + pairs % n_items
    row, column = torch.cat([user_nodes, item_nodes]), torch.cat([item_nodes, user_nodes])
    if normalisation == "reference":
        self_loops = torch.arange(size, device=row.device)
        row, column = torch.cat([row, self_loops]), torch.cat([column, self_loops])
    degree = torch.bincount(row, minlength=size).float()
    if normalisation == "reference":
        value = 1 / degree[row]
    else:
        value = degree[row].rsqrt() * degree[column].rsqrt()
    return csr(row, column, value, size)


def inverse_sqrt(degree: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """deg^-1/2, and 0 where the degree is not positive: such a node gets edges of weight 0 instead of infinite ones."""
    positive = degree > 0
    # Ones in place of the other degrees: `where` passes 0 * inf = NaN back through an infinite branch.
    return torch.where(positive, degree, torch.ones_like(degree)).rsqrt() * positive
