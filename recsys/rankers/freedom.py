"""FREEDOM: frozen item graphs from raw features, and a user-item graph that is thinned anew every epoch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from recsys.graphs.item_graph import ItemGraph, mixed_edges
from recsys.graphs.propagation import Propagation, power
from recsys.rankers.dot_product import batch_rows, bpr_loss
from recsys.rankers.frozen import FrozenGraphRanker, OpenGraph
from recsys.rankers.graph_ranker import ItemGraphRanker, check_sizes
from recsys.settings import check_between, check_choice

EdgeWeights = Literal["unit", "cosine"]


class FREEDOM(ItemGraphRanker):
    """FREEDOM (Zhou & Shen, MM 2023) for any number of modalities.

    Per modality the graph of the k nearest neighbours by cosine in raw features, built once; h = A^L E_item with
    A = sum_m w_m A_m (eq. 1-5). With LightGCN's u, i of the user-item graph, score = u . (i + h). In training, that
    graph keeps a share 1 - `dropout` of its edges, drawn anew each epoch by `degree_sensitive_draw` and normalised
    by what is left (eq. 6-7); evaluation uses all edges. The loss is BPR plus `reg_weight` times, per modality, BPR
    of u . T_m f in place of the score (eq. 12).

    `modality_weights` are w_m, divided by the sum over the modalities that there are; a single one has 1.
    `edge_weights: unit` is the paper's (eq. 2): the cosines choose the neighbours, then every edge weighs 1 / k. The
    score is then piecewise constant in the features and has no gradient; `cosine` weighs as MICRO and LATTICE do.

    An item without a modality has no edges in its graph, and h lacks that part. A triple in which either item lacks
    it adds nothing to that modality's BPR; the mean is over the whole batch all the same.
    """

    LOSSES = ("bpr", "content")
    DEFAULTS: ClassVar[Mapping[str, Any]] = {
        "embedding_size": 64,
        "n_ui_layers": 2,
        "n_layers": 1,
        "knn_k": 10,
        "modality_weights": {"image": 0.1, "text": 0.9},
        "edge_weights": "unit",
        "dropout": 0.8,
        "reg_weight": 1e-3,
        "learning_rate": 1e-3,
        "train_batch_size": 2048,
        "epochs": 1000,
        "eval_step": 1,
        "stopping_step": 20,
    }

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        _check(config)
        self.settings = {key: config[key] for key in self.DEFAULTS}
        self.generator = torch.Generator().manual_seed(config["seed"])
        self.embed(config["embedding_size"])
        self.weights = _weights(config["modality_weights"], tuple(config["features"]))
        self.read(config, dataset)
        clicks = torch.stack([dataset.inter_feat[self.USER_ID], dataset.inter_feat[self.ITEM_ID]])
        self.clicks = torch.unique(clicks, dim=1)
        self.graph = self.propagation(*self.clicks)
        self._thinned: Propagation | None = None

    def build_graphs(self, modalities: Sequence[str]) -> None:
        """The graphs of these modalities' raw features, edges weighted as `edge_weights` says, and the sum of all."""
        super().build_graphs(modalities)
        if self.settings["edge_weights"] == "unit":
            self.raw_graphs |= {m: _unweighted(self.raw_graphs[m]) for m in modalities}
        self.item_graph = self._item_graph(self.content.names)

    def _item_graph(self, modalities: tuple[str, ...]) -> Propagation:
        """The weighted sum of these modalities' graphs."""
        return Propagation.of(mixed_edges([(self.weights[m], self.raw_graphs[m]) for m in modalities]), self.n_items)

    def forget(self) -> None:
        """Also drop the thinned graph: the next forward pass in training draws another."""
        super().forget()
        self._thinned = None

    def _epoch_graph(self) -> Propagation:
        if self._thinned is None:
            users, items = self.clicks
            keep = max(1, round(len(users) * (1 - self.settings["dropout"])))
            kept = degree_sensitive_draw(users, items, keep, generator=self.generator)
            self._thinned = self.propagation(users[kept], items[kept])
        return self._thinned

    def forward(self) -> tuple[Float[Tensor, "users dim"], Float[Tensor, "items dim"]]:
        """Final embeddings of all users and items: over this epoch's clicks in training, over all otherwise."""
        graph = self._epoch_graph() if self.training else self.graph
        users, items = self.lightgcn(graph, self.settings["n_ui_layers"])
        return users, items + power(self.item_graph, self.item_embedding.weight, self.settings["n_layers"])

    def calculate_loss(self, interaction: Any) -> tuple[Tensor, ...]:
        """BPR of the scores, and the weighted BPR of the projected features."""
        triple = _, item, other = self.triple(interaction)
        who, liked, not_seen = batch_rows(*self.forward(), triple)
        loss = bpr_loss((who * liked).sum(-1), (who * not_seen).sum(-1))
        content = torch.stack([self._content_loss(m, who, item, other) for m in self.content.names]).sum()
        return loss, self.settings["reg_weight"] * content

    def _content_loss(self, modality: str, who: Tensor, item: Tensor, other: Tensor) -> Float[Tensor, ""]:
        features, has = self.content.features(modality), self.content.has(modality)
        liked, not_seen = (self.projections.of(modality)(features[some]) for some in (item, other))
        wrong = functional.softplus((who * (not_seen - liked)).sum(-1))
        return (wrong * (has[item] & has[other])).mean()

    @torch.no_grad()
    def frozen(self, modality: str) -> FrozenGraphRanker:
        """Everything that a substituted item needs, copied, over all edges; the ranker stays as it is.

        Raises:
            ValueError: the ranker has no such modality.
        """
        self.check_open(modality)
        others = tuple(m for m in self.content.names if m != modality and self.weights[m])
        users, items = self.lightgcn(self.graph, self.settings["n_ui_layers"])
        before = power(self.item_graph, self.item_embedding.weight, self.settings["n_layers"] - 1)
        unit = self.settings["edge_weights"] == "unit"
        return FrozenGraphRanker(
            users=users,
            items=items + self.item_graph(before),
            collaborative=items,
            before=before.clone(),
            rest=self._item_graph(others)(before) if others else torch.zeros_like(before),
            graphs=(OpenGraph(self.raw_graphs[modality], self.weights[modality], unit=unit),),
            normalised=False,
        )


def degree_sensitive_draw(
    users: Int[Tensor, " edges"], items: Int[Tensor, " edges"], keep: int, *, generator: torch.Generator
) -> Int[Tensor, " kept"]:
    """Positions of `keep` edges, drawn one after the other without replacement (Zhou & Shen 2023, eq. 6).

    The probability of edge (u, i) among those that are left is proportional to (deg_u deg_i)^-1/2: edges between
    popular nodes go first.
    """
    degrees = (torch.bincount(nodes)[nodes] for nodes in (users, items))
    weight = torch.stack([degree.float().rsqrt() for degree in degrees]).prod(dim=0)
    # Clocks that ring after exponential times of these rates: the first to ring are such a draw.
    times = torch.empty(len(users)).exponential_(generator=generator) / weight.cpu()
    return times.topk(keep, largest=False).indices.to(users.device)


def _unweighted(graph: ItemGraph) -> ItemGraph:
    """The same neighbours at a weight of 1: degrees are k, every normalised edge is 1 / k."""
    degree = torch.zeros_like(graph.degree).index_fill(0, graph.rows, graph.k)
    return dataclasses.replace(graph, weights=torch.ones_like(graph.weights), degree=degree)


def _weights(given: Mapping[str, float], names: tuple[str, ...]) -> dict[str, float]:
    if len(names) == 1:
        return {names[0]: 1.0}
    for name in names:
        if not isinstance(given.get(name), (int, float)) or given[name] < 0:
            raise ValueError(f"modality_weights.{name} is {given.get(name)!r}, but must be a number from 0 on")
    total = sum(given[name] for name in names)
    if total == 0:
        raise ValueError(f"modality_weights of {', '.join(names)} are all 0; one at least must be positive")
    return {name: given[name] / total for name in names}


def _check(config: Any) -> None:
    check_sizes(config)
    check_choice(config, "edge_weights", get_args(EdgeWeights))
    check_between(config, "dropout", 0, 1, open_end=True)
    check_between(config, "reg_weight", 0)
