"""MICRO: the multimodal ranker in which features influence scores only through item graphs."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from recsys.graphs.adjacency import Normalisation
from recsys.graphs.item_graph import ItemGraph, mixed_edges
from recsys.graphs.propagation import Propagation, power, propagate_edges
from recsys.graphs.subgraph import Neighbourhoods, layer_mean_at
from recsys.rankers.contrastive import contrastive_loss, draw_items
from recsys.rankers.defaults import DEFAULTS
from recsys.rankers.dot_product import Triple, batch_rows, bpr_loss, half_squared_norm
from recsys.rankers.frozen import FrozenMICRO, open_graphs
from recsys.rankers.fusion import Fusion
from recsys.rankers.graph_ranker import ItemGraphRanker, check_sizes
from recsys.rankers.ngcf import NGCF
from recsys.settings import check_between, check_choice, check_positive, check_whole

CollaborativeModel = Literal["lightgcn", "mf", "ngcf"]
"""The model of the user-item graph that MICRO adds its item graphs to."""

# Per modality, the rows of the anchors and of the negatives of its contrastive loss.
Draws = Sequence[tuple[Tensor, Tensor]]


class MICRO(ItemGraphRanker):
    """MICRO (Zhang et al., TKDE 2023) as its reference code computes it, for any number of modalities.

    Per modality m an item graph A_m = (1 - lambda) A_learned + lambda A_raw, where A_learned and A_raw are the
    k-nearest-neighbour graphs by cosine of the projected features T_m X_m and of the raw features X_m; h_m = A_m^L
    E_item; attention fuses the h_m into h. With LightGCN's embeddings u, i of the user-item graph, score =
    u . (i + h / |h|). The learned graph is rebuilt on the first batch of each epoch, there with gradient, and at every
    evaluation.

    An item without features in a modality has no edges in that graph: its h_m is 0, gets no attention, and is
    neither anchor nor negative in that modality's contrastive loss. The score of an item without any modality is u . i.

    Configuration: `features` maps each modality to the path of a `FeatureTable`. `anchors` is the number of items drawn
    per batch for the contrastive loss, or "all"; `negatives` likewise, where a number is an approximation for very
    large catalogues (see `contrastive_loss`). Catalogues of more than `knn_exact_items` items search neighbours in
    `knn_n_probe` of the `knn_n_cells` cells of an inverted file (see `recsys.graphs.neighbours.Search`). With `fanout`
    a batch propagates over the subgraph that it reads: "all" of it, with the same result, or at most that many
    neighbours per node of the user-item graph (see `recsys.graphs.subgraph`), whose cost does not grow with the graph
    if `negatives` is a number too; only the item graphs are read whole, on the first batch of an epoch.
    """

    LOSSES = ("bpr", "reg", "contrastive")
    DEFAULTS: ClassVar[Mapping[str, Any]] = DEFAULTS["MICRO"]

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        _check(config)
        self.settings = {key: config[key] for key in self.DEFAULTS}
        self.generator = torch.Generator().manual_seed(config["seed"])
        dim = config["embedding_size"]
        self.embed(dim)
        self.fusion = Fusion(dim)
        if config["cf_model"] == "ngcf":
            self.ngcf = NGCF(dim, config["n_ui_layers"], config["message_dropout"])
        users, items = dataset.inter_feat[self.USER_ID], dataset.inter_feat[self.ITEM_ID]
        self.interactions = self.propagation(users, items, config["adjacency"])
        self.read(config, dataset)
        self.modalities = self.content.names
        self._with_features = [has.nonzero().flatten() for has in self.present]  # items that have each modality
        self.trained = nn.ParameterDict()
        if config["train_features"]:
            self.trained.update({m: nn.Parameter(self.content.features(m).clone()) for m in self.modalities})
        self._graphs: dict[str, Propagation] | None = None
        fanout = config["fanout"]
        self.neighbourhoods = None if fanout is None else Neighbourhoods(self.interactions.matrix, fanout)
        self._item_neighbourhoods: dict[str, Neighbourhoods] = {}

    @property
    def present(self) -> Bool[Tensor, "modalities items"]:
        """Which items have which modality."""
        return self.content.present

    def features(self, modality: str) -> Float[Tensor, "items width"]:
        """Raw features, zeros for holes and for padding; `train_features` does not change them."""
        return self.content.features(modality)

    def learned_graph(self, modality: str) -> ItemGraph:
        """The item graph of the projected features under the current weights."""
        features = self.trained.get(modality, self.features(modality))
        return self.content.learned_graph(modality, self.knn_k, self.projections.of(modality), features)

    def graphs(self, modality: str) -> tuple[tuple[float, ItemGraph], tuple[float, ItemGraph]]:
        """The raw and the learned graph of a modality with their weights in A_m, lambda and 1 - lambda."""
        share = self.settings["lambda_coeff"]
        return (share, self.raw_graphs[modality]), (1 - share, self.learned_graph(modality))

    def clear_cache(self) -> None:
        """Also drop the item graphs: the next forward pass rebuilds the learned ones."""
        super().clear_cache()
        self._graphs = None

    def hidden(self) -> list[Float[Tensor, "items dim"]]:
        """h_m = A_m^L E_item of every modality; on the first batch of an epoch A_learned carries gradient."""
        steps = self._graphs
        if steps is None:
            edges = {m: mixed_edges(self.graphs(m)) for m in self.modalities}
            steps = {m: Propagation.of(edges[m], self.n_items) for m in self.modalities}
            if torch.is_grad_enabled():  # Evaluation caches the embeddings, not the graphs.
                self._graphs = steps
                if self.neighbourhoods is not None:
                    # Items have at most 2 k neighbours: few enough to read all of them.
                    self._item_neighbourhoods = {m: Neighbourhoods(g.matrix, "all") for m, g in steps.items()}
                # The later batches of the epoch reuse the graphs without their gradient.
                steps = {m: functools.partial(propagate_edges, edges=edges[m], graph=g) for m, g in steps.items()}
        n_layers = self.settings["n_layers"]
        return [power(steps[m], self.item_embedding.weight, n_layers) for m in self.modalities]

    def collaborative(self) -> tuple[Float[Tensor, "users dim"], Float[Tensor, "items dim"]]:
        """User and item embeddings from interactions only, by the configured `cf_model`."""
        if self.settings["cf_model"] == "mf":
            return self.user_embedding.weight, self.item_embedding.weight
        if self.settings["cf_model"] == "ngcf":
            return self.split(self.ngcf(self.interactions, self.initial()))
        return self.lightgcn(self.interactions, self.settings["n_ui_layers"])

    def _all(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Final embeddings of users and items, h_m of every modality, and h."""
        hidden = torch.stack(self.hidden())
        fused = self.fusion(hidden, self.present)
        users, items = self.collaborative()
        return users, items + functional.normalize(fused, dim=-1), hidden, fused

    def forward(self) -> tuple[Float[Tensor, "users dim"], Float[Tensor, "items dim"]]:
        """Final embeddings of all users and items."""
        return self._all()[:2]

    def calculate_loss(self, interaction: Any) -> tuple[Tensor, ...]:
        """The three weighted parts of the loss of one batch.

        BPR; half the squared norm of the *propagated* batch; the sum over modalities of the contrastive loss of h_m, h.
        """
        triple, draws = self.triple(interaction), self._draws()
        if self.neighbourhoods is None:
            (user, positive, negative), contrastive = self._full_batch(triple, draws)
        else:
            (user, positive, negative), contrastive = self._sampled_batch(self.neighbourhoods, triple, draws)
        loss = bpr_loss((user * positive).sum(-1), (user * negative).sum(-1))
        regularisation = self.settings["reg_weight"] * half_squared_norm(user, positive, negative)
        return loss, regularisation, self.settings["cl_weight"] * contrastive

    def _full_batch(self, triple: Triple, draws: Draws) -> tuple[list[Tensor], Tensor]:
        """Embeddings of the batch and the contrastive loss, by propagation over the whole graphs."""
        users, items, hidden, fused = self._all()
        return batch_rows(users, items, triple), self._contrastive(hidden, fused, draws)

    def _sampled_batch(self, graph: Neighbourhoods, triple: Triple, draws: Draws) -> tuple[list[Tensor], Tensor]:
        """Embeddings of the batch and the contrastive loss, by propagation over the subgraphs that they read."""
        users, positives, negatives = triple
        # `unique` sorts, so that searchsorted finds the position of an item in `rows`.
        rows = torch.cat([positives, negatives, *(drawn for pair in draws for drawn in pair)]).unique()
        hidden = torch.stack(self._hidden_at(rows))
        fused = self.fusion(hidden, self.present[:, rows])
        content = functional.normalize(fused, dim=-1)
        positions = torch.searchsorted(rows, torch.stack([positives, negatives]))
        nodes = torch.cat([users, self.n_users + positives, self.n_users + negatives])
        tables = self.user_embedding.weight, self.item_embedding.weight
        n_layers = self.settings["n_ui_layers"] if self.settings["cf_model"] == "lightgcn" else 0
        user, *collaborative = layer_mean_at(graph, *tables, nodes, n_layers, self.generator)[0].chunk(3)
        items = [i + functional.embedding(at, content) for i, at in zip(collaborative, positions, strict=True)]
        local = [(torch.searchsorted(rows, anchors), torch.searchsorted(rows, others)) for anchors, others in draws]
        return [user, *items], self._contrastive(hidden, fused, local)

    def _hidden_at(self, rows: Int[Tensor, " rows"]) -> list[Float[Tensor, "rows dim"]]:
        """h_m of these items for every modality."""
        if self._graphs is None:  # Once per epoch the learned graphs are built, with gradient in all their edges.
            return [functional.embedding(rows, hidden) for hidden in self.hidden()]
        n_layers, weight = self.settings["n_layers"], self.item_embedding.weight
        subgraphs = [self._item_neighbourhoods[m].around(rows, n_layers, self.generator) for m in self.modalities]
        return [subgraph.last(functional.embedding(subgraph.nodes, weight)) for subgraph in subgraphs]

    def _draws(self) -> Draws:
        """Anchors and negatives of every modality, among the items that have it; none if `cl_weight` is 0."""
        counts, draws = (self.settings["anchors"], self.settings["negatives"]), []
        if not self.settings["cl_weight"]:
            return draws
        for items in self._with_features:
            positions = (draw_items(len(items), count, generator=self.generator) for count in counts)
            draws.append(tuple(items[position.to(items.device)] for position in positions))
        return draws

    def _contrastive(
        self, hidden: Float[Tensor, "modalities items dim"], fused: Float[Tensor, "items dim"], draws: Draws
    ) -> Float[Tensor, ""]:
        """The sum over modalities of the contrastive loss between h_m and h; `draws` are rows of both."""
        if not draws:
            return fused.new_zeros(())
        losses = [
            contrastive_loss(view, fused, anchors, self.settings["temperature"], negatives, len(items))
            for view, (anchors, negatives), items in zip(hidden, draws, self._with_features, strict=True)
        ]
        return torch.stack(losses).sum()

    def check_substitutable(self, modality: str) -> None:
        """Raise ValueError unless the features of this modality can be substituted."""
        super().check_substitutable(modality)
        if self.settings["train_features"]:
            raise ValueError(
                "train_features moves the features away from the pictures they came from, and a new picture has no "
                "such move: train the ranker with train_features: false to score pictures"
            )

    @torch.no_grad()
    def frozen(self, modality: str) -> FrozenMICRO:
        """A frozen copy for scoring substituted features of this modality; the ranker and its mode do not change.

        Raises:
            ValueError: the ranker has no such modality, or trained its features.
        """
        self.check_substitutable(modality)
        weighted = {m: self.graphs(m) for m in self.modalities}
        graphs = {m: Propagation.of(mixed_edges(weighted[m]), self.n_items) for m in self.modalities}
        n_layers = self.settings["n_layers"]
        penultimate = {m: power(graphs[m], self.item_embedding.weight, n_layers - 1) for m in self.modalities}
        hidden = torch.stack([graphs[m](penultimate[m]) for m in self.modalities])
        users, items = self.collaborative()
        fusion = copy.deepcopy(self.fusion).requires_grad_(False)
        fusion.zero_grad()  # deepcopy copies gradients too
        return FrozenMICRO(
            users=users.clone(),
            items=items + functional.normalize(self.fusion(hidden, self.present), dim=-1),
            collaborative=items.clone(),
            hidden=hidden,
            present=self.present.clone(),
            penultimate=penultimate[modality].clone(),
            position=self.content.position(modality),
            graphs=open_graphs(*weighted[modality], self.projections.of(modality)),
            fusion=fusion,
        )


def _check(config: Any) -> None:
    check_sizes(config)
    for key in ("anchors", "negatives"):
        check_whole(config, key, least=1, word="all")
    check_choice(config, "cf_model", get_args(CollaborativeModel))
    check_choice(config, "adjacency", get_args(Normalisation))
    check_between(config, "lambda_coeff", 0, 1)
    check_between(config, "message_dropout", 0, 1, open_end=True)
    for key in ("reg_weight", "cl_weight"):
        check_between(config, key, 0)
    check_positive(config, "temperature")
    if config["fanout"] is not None and config["cf_model"] == "ngcf":
        raise ValueError("fanout goes with cf_model lightgcn or mf; ngcf propagates over the whole graph: fanout: null")
