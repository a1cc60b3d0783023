"""MICRO: the multimodal ranker in which content reaches the score through item graphs alone."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from recsys.contrastive import contrastive_loss, draw_items
from recsys.dot_product import DotProductRanker, bpr_loss, half_squared_norm
from recsys.graph import Edges, ItemGraph, Normalisation, csr, interaction_adjacency, mixed_edges
from recsys.modalities import Modalities, Projections
from recsys.propagation import Propagation, layer_mean, propagate_edges
from recsys.subgraph import Neighbourhoods, layer_mean_at

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


class NGCFLayer(nn.Module):
    """LeakyReLU(W1 m + b1) + LeakyReLU(W2 (x * m) + b2) with messages m = A x, then dropout (Wang et al. 2019, eq. 7).

    As MICRO's reference code has it: x itself enters through the self edges of A alone, and both parts have their own
    LeakyReLU (slope 0.01).
    """

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.plain, self.product = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "nodes dim"], messages: Float[Tensor, "nodes dim"]
    ) -> Float[Tensor, "nodes dim"]:
        """The next layer's state; what enters the mean over layers is this at length 1."""
        parts = functional.leaky_relu(self.plain(messages)) + functional.leaky_relu(self.product(x * messages))
        return self.dropout(parts)


class MICRO(DotProductRanker):
    """MICRO (Zhang et al., TKDE 2023) as its reference code computes it, for any number of modalities.

    Per modality m an item graph A_m = (1 - lambda) A_learned + lambda A_raw of the k nearest neighbours by cosine, in
    learned features T_m X_m and in the raw X_m; h_m = A_m^L E_item; attention fuses them into h. With LightGCN's
    embeddings u, i of the user-item graph, score = u . (i + h / |h|). The learned graph is rebuilt on the first batch
    of each epoch, there with gradient, and at every evaluation.

    An item without features in a modality has no edges in that graph: its h_m is 0, gets no attention, and is
    neither anchor nor negative in that modality's contrastive loss. An item without any modality scores u . i.

    Configuration: `features` maps each modality to the path of a `FeatureTable`; `anchors` is the number of items
    drawn per batch for the contrastive loss, or "all"; `negatives` likewise, where a number is an approximation for
    very large catalogues (see `contrastive_loss`); above `knn_exact_items` neighbours are searched through an inverted
    file with `knn_n_probe` lists (see `recsys.knn.Search`). With `fanout` every batch but the first of an epoch
    propagates over what it reads: "all" of it, with the same result, or at most so many neighbours of each node in the
    user-item graph (see `recsys.subgraph`), whose cost does not grow with the graph if `negatives` is a number too.
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
        self.user_embedding, self.item_embedding = nn.Embedding(self.n_users, dim), nn.Embedding(self.n_items, dim)
        nn.init.xavier_uniform_(self.user_embedding.weight)
        nn.init.xavier_uniform_(self.item_embedding.weight)
        self.fusion = Fusion(dim)
        if config["cf_model"] == "ngcf":
            self.ngcf = nn.ModuleList(NGCFLayer(dim, config["message_dropout"]) for _ in range(config["n_ui_layers"]))

        users, items = dataset.inter_feat[self.USER_ID], dataset.inter_feat[self.ITEM_ID]
        sizes = {"n_users": self.n_users, "n_items": self.n_items}
        adjacency = interaction_adjacency(users, items, **sizes, normalisation=config["adjacency"])
        self.interactions = Propagation(adjacency.to(self.device))
        self.content = Modalities.configured(config, dataset.field2id_token[self.ITEM_ID], self.device)
        self.modalities = self.content.names
        self.projections = Projections(self.content, dim)
        self.raw_graphs = {m: self.raw_graph(m) for m in self.modalities}
        self.trained = nn.ParameterDict()
        if config["train_features"]:
            self.trained.update({m: nn.Parameter(self.content.features(m).clone()) for m in self.modalities})
        self._graphs: dict[str, Propagation] | None = None
        self.neighbourhoods = None if config["fanout"] is None else Neighbourhoods(adjacency, config["fanout"])
        self._item_neighbourhoods: dict[str, Neighbourhoods] | None = None

    @property
    def present(self) -> Bool[Tensor, "modalities items"]:
        """Which modality has which item."""
        return self.content.present

    def features(self, modality: str) -> Float[Tensor, "items width"]:
        """Raw features, zeros where absent; the padding row is one of these. Graphs of raw features keep to them."""
        return self.content.features(modality)

    def raw_graph(self, modality: str) -> ItemGraph:
        """The neighbour graph of the raw features."""
        return self.content.graph(modality, self.settings["knn_k"])

    def substituted(self, modality: str, item: int, vector: Float[Tensor, " width"]) -> MICRO:
        """A twin on the same weights whose item has these features; both graphs of the modality are built anew."""
        twin = copy.copy(self)
        twin._modules = {**self._modules, "content": self.content.substituted(modality, item, vector)}
        twin.raw_graphs = {**self.raw_graphs, modality: twin.raw_graph(modality)}
        twin.forget()
        return twin

    def learned_graph(self, modality: str) -> ItemGraph:
        """The neighbour graph of the projected features under the present weights."""
        with torch.autocast(self.device.type, enabled=False):  # The graph of training is that of evaluation.
            vectors = self.projections.of(modality)(self.trained.get(modality, self.features(modality)))
            return self.content.graph(modality, self.settings["knn_k"], vectors)

    def forget(self) -> None:
        """Also drop the learned graphs: the next forward pass builds them anew."""
        super().forget()
        self._graphs = None

    def _edges(self, modality: str, learned: ItemGraph) -> Edges:
        """A_m = (1 - lambda) A_learned + lambda A_raw; a pair in both graphs is listed twice."""
        share = self.settings["lambda_coeff"]
        return mixed_edges([(share, self.raw_graphs[modality]), (1 - share, learned)])

    def _graph(self, edges: Edges) -> Propagation:
        row, column, value = edges
        return Propagation(csr(row, column, value.detach(), self.n_items))

    def _layers(self, step: Callable[[Tensor], Tensor]) -> list[Float[Tensor, "items dim"]]:
        """E_item, A_m E_item, ... A_m^L E_item."""
        layers = [self.item_embedding.weight]
        for _ in range(self.settings["n_layers"]):
            layers.append(step(layers[-1]))
        return layers

    def hidden(self) -> Float[Tensor, "modalities items dim"]:
        """h_m = A_m^L E_item of every modality. On the first batch of an epoch A_learned carries gradient."""
        if self._graphs is not None:
            return torch.stack([self._layers(self._graphs[m])[-1] for m in self.modalities])
        edges = {m: self._edges(m, self.learned_graph(m)) for m in self.modalities}
        self._graphs = {m: self._graph(edges[m]) for m in self.modalities}
        if self.neighbourhoods is not None:
            # k or 2 k neighbours an item: few enough to read all.
            self._item_neighbourhoods = {m: Neighbourhoods(g.matrix, "all") for m, g in self._graphs.items()}
        if not torch.is_grad_enabled():
            return self.hidden()
        steps = [functools.partial(_along, edges[m], self._graphs[m]) for m in self.modalities]
        return torch.stack([self._layers(step)[-1] for step in steps])

    def collaborative(self) -> tuple[Float[Tensor, "users dim"], Float[Tensor, "items dim"]]:
        """Embeddings from interactions alone: of LightGCN, NGCF, or the plain ones of matrix factorisation."""
        users, items = self.user_embedding.weight, self.item_embedding.weight
        if self.settings["cf_model"] == "mf":
            return users, items
        nodes = torch.cat([users, items])
        if self.settings["cf_model"] == "lightgcn":
            final = layer_mean(self.interactions, nodes, self.settings["n_ui_layers"])
        else:
            layers, state = [nodes], nodes
            for layer in self.ngcf:
                state = layer(state, self.interactions(state))
                layers.append(functional.normalize(state, dim=-1))
            final = torch.stack(layers).mean(dim=0)
        return final[: self.n_users], final[self.n_users :]

    def _all(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        hidden = self.hidden()
        fused = self.fusion(hidden, self.present)
        users, items = self.collaborative()
        return users, items + functional.normalize(fused, dim=-1), hidden, fused

    def forward(self) -> tuple[Float[Tensor, "users dim"], Float[Tensor, "items dim"]]:
        """Final embeddings of all users and items."""
        return self._all()[:2]

    def calculate_loss(self, interaction: Any) -> tuple[Tensor, ...]:
        """BPR; `reg_weight` times the norm of the *propagated* batch; `cl_weight` times the sum of CL(h_m, h)."""
        user, item, other = (interaction[key] for key in (self.USER_ID, self.ITEM_ID, self.NEG_ITEM_ID))
        draws = self._draws()
        if self.neighbourhoods is None or self._graphs is None:
            batch, contrastive = self._on_the_whole(user, item, other, draws)
        else:
            batch, contrastive = self._on_a_part(user, item, other, draws)
        loss = bpr_loss((batch[0] * batch[1]).sum(-1), (batch[0] * batch[2]).sum(-1))
        regularisation = self.settings["reg_weight"] * half_squared_norm(*batch)
        return loss, regularisation, self.settings["cl_weight"] * contrastive

    def _on_the_whole(self, user: Tensor, item: Tensor, other: Tensor, draws: Draws) -> tuple[list[Tensor], Tensor]:
        """Embeddings of the batch and the contrastive loss, by propagation over all nodes."""
        users, items, hidden, fused = self._all()
        # embedding() has a faster gradient than indexing.
        batch = [functional.embedding(*pair) for pair in ((user, users), (item, items), (other, items))]
        return batch, self._contrastive(hidden, fused, draws)

    def _on_a_part(self, user: Tensor, item: Tensor, other: Tensor, draws: Draws) -> tuple[list[Tensor], Tensor]:
        """The same, by propagation over what they read."""
        assert self.neighbourhoods is not None
        assert self._item_neighbourhoods is not None
        rows = torch.cat([item, other, *(drawn.to(item.device) for pair in draws for drawn in pair)]).unique()
        hidden = []
        for modality in self.modalities:
            graph = self._item_neighbourhoods[modality]
            part = graph.around(rows, self.settings["n_layers"], self.generator)
            hidden.append(part.last(functional.embedding(part.nodes, self.item_embedding.weight)))
        hidden = torch.stack(hidden)
        fused = self.fusion(hidden, self.present[:, rows])
        content, place = functional.normalize(fused, dim=-1), torch.searchsorted(rows, torch.stack([item, other]))
        nodes = torch.cat([user, self.n_users + item, self.n_users + other])
        tables = self.user_embedding.weight, self.item_embedding.weight
        layers = self.settings["n_ui_layers"] if self.settings["cf_model"] == "lightgcn" else 0
        final, _ = layer_mean_at(self.neighbourhoods, *tables, nodes, layers, self.generator)
        who, liked, not_seen = final.chunk(3)
        liked, not_seen = (
            i + functional.embedding(at, content) for i, at in zip((liked, not_seen), place, strict=True)
        )
        there = [tuple(torch.searchsorted(rows, drawn.to(rows.device)) for drawn in pair) for pair in draws]
        return [who, liked, not_seen], self._contrastive(hidden, fused, there)

    def _draws(self) -> Draws:
        """Anchors and negatives of every modality, among the items that have it."""
        drawn = []
        for has in self.present:
            rows = has.nonzero().flatten()
            counts = (self.settings[key] for key in ("anchors", "negatives"))
            drawn.append(
                tuple(rows[draw_items(len(rows), n, generator=self.generator).to(rows.device)] for n in counts)
            )
        return drawn

    def _contrastive(
        self, hidden: Float[Tensor, "modalities items dim"], fused: Float[Tensor, "items dim"], draws: Draws
    ) -> Float[Tensor, ""]:
        losses = [
            contrastive_loss(view, fused, anchors, self.settings["temperature"], negatives, int(count))
            for view, (anchors, negatives), count in zip(hidden, draws, self.present.sum(1), strict=True)
        ]
        return torch.stack(losses).sum()

    @torch.no_grad()
    def frozen(self, modality: str) -> FrozenMICRO:
        """Everything that a substituted item needs, copied; the ranker stays as it is, in its mode.

        Raises:
            ValueError: the ranker has no such modality.
        """
        position = self.content.position(modality)
        if self.settings["train_features"]:
            raise ValueError(
                "train_features moves the features away from the pictures they came from, and a new picture has no such "
                "move: train the ranker with train_features: false to score pictures"
            )
        learned = {m: self.learned_graph(m) for m in self.modalities}
        layers = {m: self._layers(self._graph(self._edges(m, learned[m]))) for m in self.modalities}
        hidden = torch.stack([layers[m][-1] for m in self.modalities])
        users, items = self.collaborative()
        fusion = copy.deepcopy(self.fusion).requires_grad_(False)
        fusion.zero_grad()
        projection = self.projections.of(modality)
        return FrozenMICRO(
            users=users.clone(),
            items=items + functional.normalize(self.fusion(hidden, self.present), dim=-1),
            collaborative=items.clone(),
            hidden=hidden,
            present=self.present.clone(),
            before=layers[modality][-2].clone(),
            position=position,
            graphs=(self.raw_graphs[modality], learned[modality].detached()),
            shares=(self.settings["lambda_coeff"], 1 - self.settings["lambda_coeff"]),
            projection=(projection.weight.detach().clone(), projection.bias.detach().clone()),
            fusion=fusion,
        )


def _along(edges: Edges, graph: Propagation, x: Float[Tensor, "items dim"]) -> Float[Tensor, "items dim"]:
    return propagate_edges(x, *edges, graph)


@dataclass(frozen=True)
class FrozenMICRO:
    """A trained MICRO at rest, with one modality open to substitution.

    Attributes:
        users: final embeddings.
        items: final embeddings, before any substitution.
        collaborative: the part of them that comes from interactions.
        hidden: h_m of every modality.
        present: which items have which modality.
        before: A_m^(L-1) E_item of the open modality: what its last propagation reads.
        position: the open modality's place among all.
        graphs: its raw and its learned graph.
        shares: lambda and 1 - lambda, their weights.
        projection: weight and bias of T_m.
        fusion: the attention.
    """

    users: Float[Tensor, "users dim"]
    items: Float[Tensor, "items dim"]
    collaborative: Float[Tensor, "items dim"]
    hidden: Float[Tensor, "modalities items dim"]
    present: Bool[Tensor, "modalities items"]
    before: Float[Tensor, "items dim"]
    position: int
    graphs: tuple[ItemGraph, ItemGraph]
    shares: tuple[float, float]
    projection: tuple[Tensor, Tensor]
    fusion: Fusion

    @property
    def feature_dim(self) -> int:
        """Width of the open modality's features."""
        return self.graphs[0].unit.shape[1]

    def item_embeddings(
        self, items: Int[Tensor, " batch"], features: Float[Tensor, "batch width"]
    ) -> Float[Tensor, "batch dim"]:
        """Final embedding of each item if its features were these; differentiable in them.

        Rows i of the raw and of the learned graph are recomputed with the other items' rows and degrees as they
        are. With more than one item layer only the last propagation of row i is recomputed.
        """
        row = torch.zeros_like(self.before[items])
        vectors = (features, functional.linear(features, *self.projection))
        for share, graph, vector in zip(self.shares, self.graphs, vectors, strict=True):
            if share:
                columns, weights = graph.substituted_rows(items, vector)
                row = row + share * torch.einsum("bk,bkd->bd", weights, self.before[columns])
        here = torch.arange(len(self.hidden), device=items.device)[:, None] == self.position
        hidden = torch.where(here[..., None], row, self.hidden[:, items])
        fused = self.fusion(hidden, self.present[:, items] | here)
        return self.collaborative[items] + functional.normalize(fused, dim=-1)


def _check(config: Any) -> None:
    for key, allowed in (("cf_model", CollaborativeModel), ("adjacency", Normalisation)):
        if config[key] not in get_args(allowed):
            raise ValueError(f"{key} is {config[key]!r}, but must be one of {', '.join(get_args(allowed))}")
    if config["fanout"] is not None and config["cf_model"] == "ngcf":
        raise ValueError("fanout goes with cf_model lightgcn or mf; ngcf propagates over the whole graph: fanout: null")
    if config["n_layers"] < 1:
        raise ValueError(f"n_layers is {config['n_layers']}, but content reaches the score only through 1 or more")
    if not 0 <= config["lambda_coeff"] <= 1:
        raise ValueError(f"lambda_coeff is {config['lambda_coeff']}, but must lie in [0, 1]")
    for key in ("anchors", "negatives"):
        if config[key] != "all" and not (isinstance(config[key], int) and config[key] > 0):
            raise ValueError(f"{key} is {config[key]!r}, but must be a positive number or 'all'")
