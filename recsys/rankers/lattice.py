"""LATTICE: raw and learned item graphs of every modality, fused into one graph."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, ClassVar, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from recsys.graphs.adjacency import Normalisation
from recsys.graphs.item_graph import ItemGraph, mixed_edges
from recsys.graphs.propagation import Propagation, power, propagate_edges
from recsys.rankers.defaults import DEFAULTS
from recsys.rankers.dot_product import batch_rows, bpr_loss, half_squared_norm
from recsys.rankers.frozen import FrozenGraphRanker, open_graphs
from recsys.rankers.graph_ranker import ItemGraphRanker, check_sizes
from recsys.settings import check_between, check_choice


class LATTICE(ItemGraphRanker):
    """LATTICE (Zhang et al., MM 2021) for any number of modalities, over LightGCN (`n_ui_layers: 0`: plain factors).

    Per modality m an item graph A_m = (1 - lambda) A_learned + lambda A_raw, where A_learned and A_raw are the
    k-nearest-neighbour graphs by cosine of the projected features T_m X_m and of the raw features X_m (eq. 1-6);
    A = sum_m alpha_m A_m, alpha = softmax of one learned logit per modality (eq. 7); h = A^L E_item (eq. 8). With
    LightGCN's u, i of the user-item graph, score = u . (i + h / |h|). Each A_learned is normalised by its own degrees,
    as in the paper and in MICRO; the reference code normalises the sum over modalities instead.

    A is rebuilt on the first batch of each epoch, there with gradient in alpha and T_m, and at every evaluation. The
    loss is BPR plus `reg_weight` times half the squared norm of the *propagated* batch embeddings; `adjacency` is
    the normalisation of the user-item graph, by default that of the reference code.

    An item without a modality has no edges in its graphs, and its h / |h| comes from the other modalities; without
    any modality its score is u . i.
    """

    LOSSES = ("bpr", "reg")
    DEFAULTS: ClassVar[Mapping[str, Any]] = DEFAULTS["LATTICE"]

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        _check(config)
        self.settings = {key: config[key] for key in self.DEFAULTS}
        self.embed(config["embedding_size"])
        self.read(config, dataset)
        self.modality_logits = nn.Parameter(torch.zeros(len(self.content.names)))
        users, items = dataset.inter_feat[self.USER_ID], dataset.inter_feat[self.ITEM_ID]
        self.interactions = self.propagation(users, items, config["adjacency"])
        self._graph: Propagation | None = None

    def clear_cache(self) -> None:
        """Also drop the fused graph: the next forward pass rebuilds it."""
        super().clear_cache()
        self._graph = None

    def graphs(self, modality: str) -> tuple[tuple[Tensor, ItemGraph], tuple[Tensor, ItemGraph]]:
        """The raw and the learned graph of a modality under the current weights, each with its weight in A."""
        alpha = self.modality_logits.softmax(dim=0)[self.content.position(modality)]
        share = self.settings["lambda_coeff"]
        learned = self.content.learned_graph(modality, self.knn_k, self.projections.of(modality))
        return (alpha * share, self.raw_graphs[modality]), (alpha * (1 - share), learned)

    def hidden(self) -> Float[Tensor, "items dim"]:
        """The content embeddings A^L E_item; on the first batch of an epoch A carries gradient."""
        step = self._graph
        if step is None:
            edges = mixed_edges([weighted for m in self.content.names for weighted in self.graphs(m)])
            step = Propagation.of(edges, self.n_items)
            if torch.is_grad_enabled():  # Evaluation caches the embeddings, not the graph.
                self._graph = step
                # The later batches of the epoch reuse the graph without its gradient.
                step = functools.partial(propagate_edges, edges=edges, graph=step)
        return power(step, self.item_embedding.weight, self.settings["n_layers"])

    def forward(self) -> tuple[Float[Tensor, "users dim"], Float[Tensor, "items dim"]]:
        """Final embeddings of all users and items."""
        users, items = self.lightgcn(self.interactions, self.settings["n_ui_layers"])
        return users, items + functional.normalize(self.hidden(), dim=-1)

    def calculate_loss(self, interaction: Any) -> tuple[Tensor, ...]:
        """BPR, and `reg_weight` times half the squared norm of the propagated batch."""
        user, positive, negative = batch_rows(*self.forward(), self.triple(interaction))
        loss = bpr_loss((user * positive).sum(-1), (user * negative).sum(-1))
        return loss, self.settings["reg_weight"] * half_squared_norm(user, positive, negative)

    @torch.no_grad()
    def frozen(self, modality: str) -> FrozenGraphRanker:
        """A frozen copy for scoring substituted features of this modality; the ranker and its mode do not change.

        Raises:
            ValueError: the ranker has no such modality.
        """
        self.check_substitutable(modality)
        weighted = {m: self.graphs(m) for m in self.content.names}
        graph = Propagation.of(mixed_edges([pair for m in weighted for pair in weighted[m]]), self.n_items)
        penultimate = power(graph, self.item_embedding.weight.clone(), self.settings["n_layers"] - 1)
        others = [pair for m in weighted if m != modality for pair in weighted[m]]
        if others:
            other_modalities = Propagation.of(mixed_edges(others), self.n_items)(penultimate)
        else:
            other_modalities = torch.zeros_like(penultimate)
        users, items = self.lightgcn(self.interactions, self.settings["n_ui_layers"])
        return FrozenGraphRanker(
            users=users,
            items=items + functional.normalize(graph(penultimate), dim=-1),
            collaborative=items,
            penultimate=penultimate,
            other_modalities=other_modalities,
            graphs=open_graphs(*weighted[modality], self.projections.of(modality)),
            normalised=True,
        )


def _check(config: Any) -> None:
    check_sizes(config)
    check_choice(config, "adjacency", get_args(Normalisation))
    check_between(config, "lambda_coeff", 0, 1)
    check_between(config, "reg_weight", 0)
