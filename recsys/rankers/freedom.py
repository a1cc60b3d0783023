"""FREEDOM: frozen item graphs of raw features, and a user-item graph whose edges are dropped anew every epoch."""

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
from recsys.rankers.defaults import DEFAULTS
from recsys.rankers.dot_product import batch_rows, bpr_loss
from recsys.rankers.frozen import FrozenGraphRanker, OpenGraph
from recsys.rankers.graph_ranker import ItemGraphRanker, check_sizes
from recsys.settings import check_between, check_choice

EdgeWeights = Literal["unit", "cosine"]


class FREEDOM(ItemGraphRanker):
    """FREEDOM (Zhou & Shen, MM 2023) for any number of modalities.

    Per modality m the k-nearest-neighbour graph A_m by cosine of the raw features, built once; h = A^L E_item with
    A = sum_m w_m A_m (eq. 1-5). With LightGCN's u, i of the user-item graph, score = u . (i + h). In training, that
    graph keeps a share 1 - `dropout` of its edges, drawn anew each epoch by `degree_sensitive_draw` and normalised
    by the degrees that are left (eq. 6-7); evaluation uses all edges. The loss is BPR plus `reg_weight` times, per
    modality, the BPR of u . T_m f in place of the score (eq. 12).

    `modality_weights` are w_m, divided by their sum over the configured modalities; a single modality has weight 1.
    `edge_weights: unit` is the paper's (eq. 2): the cosines choose the neighbours, then every edge weighs 1 / k. The
    score is then piecewise constant in the features and has no gradient; `cosine` weighs edges as MICRO and LATTICE do.

    An item without a modality has no edges in its graph, and h lacks that term. A triple in which either item lacks
    the modality adds nothing to its BPR; the mean is still over the whole batch.
    """

    LOSSES = ("bpr", "content")
    DEFAULTS: ClassVar[Mapping[str, Any]] = DEFAULTS["FREEDOM"]

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        _check(config)
        self.settings = {key: config[key] for key in self.DEFAULTS}
        self.generator = torch.Generator().manual_seed(config["seed"])
        self.embed(config["embedding_size"])
        self.weights = _normalised_weights(config["modality_weights"], tuple(config["features"]))
        self.read(config, dataset)
        clicks = torch.stack([dataset.inter_feat[self.USER_ID], dataset.inter_feat[self.ITEM_ID]])
        self.clicks = torch.unique(clicks, dim=1)
        self.graph = self.propagation(*self.clicks)
        self._thinned: Propagation | None = None

    def build_graphs(self, modalities: Sequence[str]) -> None:
        """Build the item graphs of these modalities with the configured `edge_weights`, and the sum over all."""
        super().build_graphs(modalities)
        if self.settings["edge_weights"] == "unit":
            self.raw_graphs |= {m: _with_unit_weights(self.raw_graphs[m]) for m in modalities}
        self.item_graph = self._weighted_sum(self.content.names)

    def _weighted_sum(self, modalities: tuple[str, ...]) -> Propagation:
        """A = sum_m w_m A_m over these modalities."""
        return Propagation.of(mixed_edges([(self.weights[m], self.raw_graphs[m]) for m in modalities]), self.n_items)

    def clear_cache(self) -> None:
        """Also drop the thinned user-item graph: the next forward pass in training draws another one."""
        super().clear_cache()
        self._thinned = None

    def _epoch_graph(self) -> Propagation:
        """The thinned user-item graph of this epoch."""
        if self._thinned is None:
            users, items = self.clicks
            count = max(1, round(len(users) * (1 - self.settings["dropout"])))
            edges = degree_sensitive_draw(users, items, count, generator=self.generator)
            self._thinned = self.propagation(users[edges], items[edges])
        return self._thinned

    def forward(self) -> tuple[Float[Tensor, "users dim"], Float[Tensor, "items dim"]]:
        """Final embeddings of all users and items, over this epoch's edges in training and over all edges otherwise."""
        graph = self._epoch_graph() if self.training else self.graph
        users, items = self.lightgcn(graph, self.settings["n_ui_layers"])
        return users, items + power(self.item_graph, self.item_embedding.weight, self.settings["n_layers"])

    def calculate_loss(self, interaction: Any) -> tuple[Tensor, ...]:
        """BPR of the scores, and the weighted BPR of the projected features."""
        triple = _, positives, negatives = self.triple(interaction)
        user, positive, negative = batch_rows(*self.forward(), triple)
        loss = bpr_loss((user * positive).sum(-1), (user * negative).sum(-1))
        content = torch.stack([self._content_loss(m, user, positives, negatives) for m in self.content.names]).sum()
        return loss, self.settings["reg_weight"] * content

    def _content_loss(
        self,
        modality: str,
        user: Float[Tensor, "batch dim"],
        positives: Int[Tensor, " batch"],
        negatives: Int[Tensor, " batch"],
    ) -> Float[Tensor, ""]:
        """BPR of u . T_m f, over the triples whose items both have the modality."""
        features, has = self.content.features(modality), self.content.mask(modality)
        positive, negative = (self.projections.of(modality)(features[items]) for items in (positives, negatives))
        losses = functional.softplus((user * (negative - positive)).sum(-1))
        return (losses * (has[positives] & has[negatives])).mean()

    @torch.no_grad()
    def frozen(self, modality: str) -> FrozenGraphRanker:
        """A frozen copy for scoring substituted features of this modality, over all edges; the ranker does not change.

        Raises:
            ValueError: the ranker has no such modality.
        """
        self.check_substitutable(modality)
        others = tuple(m for m in self.content.names if m != modality and self.weights[m])
        users, items = self.lightgcn(self.graph, self.settings["n_ui_layers"])
        penultimate = power(self.item_graph, self.item_embedding.weight, self.settings["n_layers"] - 1)
        unit = self.settings["edge_weights"] == "unit"
        return FrozenGraphRanker(
            users=users,
            items=items + self.item_graph(penultimate),
            collaborative=items,
            penultimate=penultimate.clone(),
            other_modalities=self._weighted_sum(others)(penultimate) if others else torch.zeros_like(penultimate),
            graphs=(OpenGraph(self.raw_graphs[modality], self.weights[modality], unit=unit),),
            normalised=False,
        )


def degree_sensitive_draw(
    users: Int[Tensor, " edges"], items: Int[Tensor, " edges"], count: int, *, generator: torch.Generator
) -> Int[Tensor, " drawn"]:
    """Positions of `count` edges, drawn one after the other without replacement (Zhou & Shen 2023, eq. 6).

    The probability of drawing edge (u, i) among the remaining ones is proportional to (deg_u deg_i)^-1/2: edges
    between popular nodes are the most likely to be left out.
    """
    degrees = (torch.bincount(nodes)[nodes] for nodes in (users, items))
    weight = torch.stack([degree.float().rsqrt() for degree in degrees]).prod(dim=0)
    # Exponential waiting times with these rates: the `count` shortest are such a draw (Efraimidis & Spirakis 2006).
    times = torch.empty(len(users)).exponential_(generator=generator) / weight.cpu()
    return times.topk(count, largest=False).indices.to(users.device)


def _with_unit_weights(graph: ItemGraph) -> ItemGraph:
    """The same graph with edges of weight 1: all degrees are k, every normalised edge weighs 1 / k."""
    degree = torch.zeros_like(graph.degree).index_fill(0, graph.rows, graph.k)
    return dataclasses.replace(graph, weights=torch.ones_like(graph.weights), degree=degree)


def _normalised_weights(configured: Mapping[str, float], names: tuple[str, ...]) -> dict[str, float]:
    """The weights of these modalities, checked and divided by their sum."""
    if len(names) == 1:
        return {names[0]: 1.0}
    for name in names:
        weight = configured.get(name)
        if not isinstance(weight, (int, float)) or weight < 0:
            raise ValueError(f"modality_weights.{name} is {weight!r}, but must be a number from 0 on")
    total = sum(configured[name] for name in names)
    if total == 0:
        raise ValueError(f"modality_weights of {', '.join(names)} are all 0; one at least must be positive")
    return {name: configured[name] / total for name in names}


def _check(config: Any) -> None:
    check_sizes(config)
    check_choice(config, "edge_weights", get_args(EdgeWeights))
    check_between(config, "dropout", 0, 1, open_end=True)
    check_between(config, "reg_weight", 0)
