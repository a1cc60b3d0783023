"""MICRO: the multimodal ranker in which content reaches the score through item graphs alone."""

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
from recsys.rankers.dot_product import Triple, batch_rows, bpr_loss, half_squared_norm
from recsys.rankers.frozen import FrozenMICRO, open_graphs
from recsys.rankers.graph_ranker import ItemGraphRanker, check_sizes
from recsys.rankers.ngcf import NGCF
from recsys.settings import check_between, check_choice, check_positive, check_whole

CollaborativeModel = Literal["lightgcn", "mf", "ngcf"]
# Of each modality: rows of the anchors and of the negatives of its contrastive loss.
Draws = Sequence[tuple[Tensor, Tensor]]


class Fusion(nn.Module):
    """Attention over modalities per item: a_m = q . tanh(W h_m + b), softmax over m, h = sum_m a_m h_m."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.hidden, self.query = nn.Linear(dim, dim), nn.Linear(dim, 1, bias=False)

    def forward(
        self, hidden: Float[Tensor, "modalities items dim"], present: Bool[Tensor, "modalities items"]
    ) -> Float[Tensor, "items dim"]:
        """Fused rows; an absent modality gets no attention, an item without any a row of zeros."""
        logits = self.query(torch.tanh(self.hidden(hidden))).squeeze(-1)
        weights = logits.masked_fill(~present, torch.finfo(logits.dtype).min).softmax(dim=0) * present
        return (weights[..., None] * hidden).sum(dim=0)


class MICRO(ItemGraphRanker):
    """MICRO (Zhang et al., TKDE 2023) as its reference code computes it, for any number of modalities.

    Per modality m an item graph A_m = (1 - lambda) A_learned + lambda A_raw of the k nearest neighbours by cosine, in
    learned features T_m X_m and in the raw X_m; h_m = A_m^L E_item; attention fuses them into h. With LightGCN's
    embeddings u, i of the user-item graph, score = u . (i + h / |h|). The learned graph is rebuilt on the first batch
    of each epoch, there with gradient, and at every evaluation.

    An item without features in a modality has no edges in that graph: its h_m is 0, gets no attention, and is
    neither anchor nor negative in that modality's contrastive loss. An item without any modality scores u . i.

    Configuration: `features` maps each modality to the path of a `FeatureTable`; `anchors` is the number of items
    drawn per batch for the contrastive loss, or "all"; `negatives` likewise, where a number is an approximation for
    very large catalogues (see `contrastive_loss`); above `knn_exact_items` neighbours are searched in an inverted file,
    in `knn_n_probe` of its `knn_n_cells` cells (see `recsys.graphs.neighbours.Search`). With `fanout` a batch propagates over what it
    reads: "all" of it, with the same result, or at most so many neighbours of each node in the user-item graph (see
    `recsys.graphs.subgraph`), whose cost does not grow with the graph if `negatives` is a number too; only the item graphs are
    read whole, on the first batch of an epoch.
    """

    LOSSES = ("bpr", "reg", "contrastive")
    DEFAULTS: ClassVar[Mapping[str, Any]] = {
        "embedding_size": 64,
        "n_ui_layers": 2,
        "n_layers": 1,
        "knn_k": 10,
        "train_features": False,
        "lambda_coeff": 0.9,
        "reg_weight": 1e-5,
        "cl_weight": 0.03,
        "temperature": 0.5,
        "cf_model": "lightgcn",
        "message_dropout": 0.1,
        "adjacency": "reference",
        "anchors": 256,
        "negatives": "all",
        "fanout": None,
        "learning_rate": 5e-4,
        "lr_decay": 0.96,
        "lr_decay_epochs": 50,
        "train_batch_size": 1024,
        "epochs": 1000,
        "eval_step": 5,
        "stopping_step": 10,
    }

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
        self._with_features = [has.nonzero().flatten() for has in self.present]  # of each modality
        self.trained = nn.ParameterDict()
        if config["train_features"]:
            self.trained.update({m: nn.Parameter(self.content.features(m).clone()) for m in self.modalities})
        self._graphs: dict[str, Propagation] | None = None
        fanout = config["fanout"]
        self.neighbourhoods = None if fanout is None else Neighbourhoods(self.interactions.matrix, fanout)
        self._item_neighbourhoods: dict[str, Neighbourhoods] = {}

    @property
    def present(self) -> Bool[Tensor, "modalities items"]:
        """Which modality has which item."""
        return self.content.present

    def features(self, modality: str) -> Float[Tensor, "items width"]:
        """Raw features, zeros where absent; the padding row is one of these. Graphs of raw features keep to them."""
        return self.content.features(modality)

    def learned_graph(self, modality: str) -> ItemGraph:
        """The neighbour graph of the projected features under the present weights."""
        features = self.trained.get(modality, self.features(modality))
        return self.content.learned_graph(modality, self.knn_k, self.projections.of(modality), features)

    def graphs(self, modality: str) -> tuple[tuple[float, ItemGraph], tuple[float, ItemGraph]]:
        """The raw and the learned graph of a modality with their shares, lambda and 1 - lambda, of A_m."""
        share = self.settings["lambda_coeff"]
        return (share, self.raw_graphs[modality]), (1 - share, self.learned_graph(modality))

    def forget(self) -> None:
        """Also drop the learned graphs: the next forward pass builds them anew."""
        super().forget()
        self._graphs = None

    def hidden(self) -> list[Float[Tensor, "items dim"]]:
        """h_m = A_m^L E_item of every modality. On the first batch of an epoch A_learned carries gradient."""
        steps = self._graphs
        if steps is None:
            edges = {m: mixed_edges(self.graphs(m)) for m in self.modalities}
            steps = {m: Propagation.of(edges[m], self.n_items) for m in self.modalities}
            if torch.is_grad_enabled():  # Evaluation keeps the embeddings instead; the first batch needs the gradient.
                self._graphs = steps
                if self.neighbourhoods is not None:
                    # k or 2 k neighbours an item: few enough to read all.
                    self._item_neighbourhoods = {m: Neighbourhoods(g.matrix, "all") for m, g in steps.items()}
                steps = {m: functools.partial(propagate_edges, edges=edges[m], graph=g) for m, g in steps.items()}
        n_layers = self.settings["n_layers"]
        return [power(steps[m], self.item_embedding.weight, n_layers) for m in self.modalities]

    def collaborative(self) -> tuple[Float[Tensor, "users dim"], Float[Tensor, "items dim"]]:
        """Embeddings from interactions alone: of LightGCN, NGCF, or the plain ones of matrix factorisation."""
        if self.settings["cf_model"] == "mf":
            return self.user_embedding.weight, self.item_embedding.weight
        if self.settings["cf_model"] == "ngcf":
            return self.split(self.ngcf(self.interactions, self.initial()))
        return self.lightgcn(self.interactions, self.settings["n_ui_layers"])

    def _all(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        hidden = torch.stack(self.hidden())
        fused = self.fusion(hidden, self.present)
        users, items = self.collaborative()
        return users, items + functional.normalize(fused, dim=-1), hidden, fused

    def forward(self) -> tuple[Float[Tensor, "users dim"], Float[Tensor, "items dim"]]:
        """Final embeddings of all users and items."""
        return self._all()[:2]

    def calculate_loss(self, interaction: Any) -> tuple[Tensor, ...]:
        """BPR; `reg_weight` times the norm of the *propagated* batch; `cl_weight` times the sum of CL(h_m, h)."""
        triple, draws = self.triple(interaction), self._draws()
        if self.neighbourhoods is None:
            batch, contrastive = self._on_the_whole(triple, draws)
        else:
            batch, contrastive = self._on_a_part(self.neighbourhoods, triple, draws)
        loss = bpr_loss((batch[0] * batch[1]).sum(-1), (batch[0] * batch[2]).sum(-1))
        regularisation = self.settings["reg_weight"] * half_squared_norm(*batch)
        return loss, regularisation, self.settings["cl_weight"] * contrastive

    def _on_the_whole(self, triple: Triple, draws: Draws) -> tuple[list[Tensor], Tensor]:
        """Embeddings of the batch and the contrastive loss, by propagation over all nodes."""
        users, items, hidden, fused = self._all()
        return batch_rows(users, items, triple), self._contrastive(hidden, fused, draws)

    def _on_a_part(self, graph: Neighbourhoods, triple: Triple, draws: Draws) -> tuple[list[Tensor], Tensor]:
        """The same, by propagation over what they read."""
        user, item, other = triple
        rows = torch.cat([item, other, *(drawn for pair in draws for drawn in pair)]).unique()
        hidden = torch.stack(self._hidden_at(rows))
        fused = self.fusion(hidden, self.present[:, rows])
        content, place = functional.normalize(fused, dim=-1), torch.searchsorted(rows, torch.stack([item, other]))
        nodes = torch.cat([user, self.n_users + item, self.n_users + other])
        tables = self.user_embedding.weight, self.item_embedding.weight
        layers = self.settings["n_ui_layers"] if self.settings["cf_model"] == "lightgcn" else 0
        who, *both = layer_mean_at(graph, *tables, nodes, layers, self.generator)[0].chunk(3)
        both = [i + functional.embedding(at, content) for i, at in zip(both, place, strict=True)]
        there = [(torch.searchsorted(rows, anchors), torch.searchsorted(rows, others)) for anchors, others in draws]
        return [who, *both], self._contrastive(hidden, fused, there)

    def _hidden_at(self, rows: Int[Tensor, " rows"]) -> list[Float[Tensor, "rows dim"]]:
        if self._graphs is None:  # All edges of the learned graphs are built with gradient, once an epoch.
            return [functional.embedding(rows, hidden) for hidden in self.hidden()]
        n_layers, weight = self.settings["n_layers"], self.item_embedding.weight
        parts = [self._item_neighbourhoods[m].around(rows, n_layers, self.generator) for m in self.modalities]
        return [part.last(functional.embedding(part.nodes, weight)) for part in parts]

    def _draws(self) -> Draws:
        """Anchors and negatives of every modality, among the items that have it; none for a loss without weight."""
        counts, drawn = (self.settings["anchors"], self.settings["negatives"]), []
        if not self.settings["cl_weight"]:
            return drawn
        for rows in self._with_features:
            places = (draw_items(len(rows), count, generator=self.generator) for count in counts)
            drawn.append(tuple(rows[place.to(rows.device)] for place in places))
        return drawn

    def _contrastive(
        self, hidden: Float[Tensor, "modalities items dim"], fused: Float[Tensor, "items dim"], draws: Draws
    ) -> Float[Tensor, ""]:
        if not draws:
            return fused.new_zeros(())
        losses = [
            contrastive_loss(view, fused, anchors, self.settings["temperature"], negatives, len(rows))
            for view, (anchors, negatives), rows in zip(hidden, draws, self._with_features, strict=True)
        ]
        return torch.stack(losses).sum()

    def check_open(self, modality: str) -> None:
        """ValueError unless the features of this modality can be substituted."""
        super().check_open(modality)
        if self.settings["train_features"]:
            raise ValueError(
                "train_features moves the features away from the pictures they came from, and a new picture has no "
                "such move: train the ranker with train_features: false to score pictures"
            )

    @torch.no_grad()
    def frozen(self, modality: str) -> FrozenMICRO:
        """Everything that a substituted item needs, copied; the ranker stays as it is, in its mode.

        Raises:
            ValueError: the ranker has no such modality, or trained its features.
        """
        self.check_open(modality)
        parts = {m: self.graphs(m) for m in self.modalities}
        graphs = {m: Propagation.of(mixed_edges(parts[m]), self.n_items) for m in self.modalities}
        n_layers = self.settings["n_layers"]
        before = {m: power(graphs[m], self.item_embedding.weight, n_layers - 1) for m in self.modalities}
        hidden = torch.stack([graphs[m](before[m]) for m in self.modalities])
        users, items = self.collaborative()
        fusion = copy.deepcopy(self.fusion).requires_grad_(False)
        fusion.zero_grad()
        return FrozenMICRO(
            users=users.clone(),
            items=items + functional.normalize(self.fusion(hidden, self.present), dim=-1),
            collaborative=items.clone(),
            hidden=hidden,
            present=self.present.clone(),
            before=before[modality].clone(),
            position=self.content.position(modality),
            graphs=open_graphs(*parts[modality], self.projections.of(modality)),
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
