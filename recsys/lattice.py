"""LATTICE: item graphs of every modality, raw and learned, fused into one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from recsys.dot_product import DotProductRanker, bpr_loss, half_squared_norm
from recsys.frozen import FrozenGraphRanker, OpenGraph
from recsys.graph import ItemGraph, Normalisation, csr, interaction_adjacency, mixed_edges
from recsys.modalities import Modalities, Projections
from recsys.propagation import Propagation, layer_mean, propagate_edges
from recsys.settings import check_between, check_choice, check_whole


class LATTICE(DotProductRanker):
    """LATTICE (Zhang et al., MM 2021) for any number of modalities, over LightGCN (`n_ui_layers: 0`: plain factors).

    Per modality m an item graph A_m = (1 - lambda) A_learned + lambda A_raw of the k nearest neighbours by cosine, in
    learned features T_m X_m and in the raw X_m (eq. 1-6); A = sum_m alpha_m A_m, alpha = softmax of one learned
    number per modality (eq. 7); h = A^L E_item (eq. 8). With LightGCN's u, i of the user-item graph, score =
    u . (i + h / |h|). Each A_learned is normalised by its own degrees, as in the paper and in MICRO; the reference
    code normalises the sum over modalities instead.

    A is rebuilt on the first batch of each epoch, there with gradient in alpha and T_m, and at every evaluation. The
    loss is BPR plus `reg_weight` times half the squared norm of the *propagated* batch embeddings; `adjacency` is
    the user-item graph's normalisation, by default the reference code's.

    An item without a modality has no edges in its graphs, and h / |h| comes from the others; without any, it scores
    u . i.
    """

    LOSSES = ("bpr", "reg")
    DEFAULTS: ClassVar[Mapping[str, Any]] = {
        "embedding_size": 64,
        "n_ui_layers": 2,
        "n_layers": 1,
        "knn_k": 10,
        "lambda_coeff": 0.9,
        "reg_weight": 1e-5,
        "adjacency": "reference",
        "learning_rate": 5e-4,
        "lr_decay": 0.96,
        "lr_decay_epochs": 50,
        "train_batch_size": 1024,
        "epochs": 200,
        "eval_step": 5,
        "stopping_step": 10,
    }

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        _check(config)
        self.settings = {key: config[key] for key in self.DEFAULTS}
        dim = config["embedding_size"]
        self.user_embedding, self.item_embedding = nn.Embedding(self.n_users, dim), nn.Embedding(self.n_items, dim)
        nn.init.xavier_uniform_(self.user_embedding.weight)
        nn.init.xavier_uniform_(self.item_embedding.weight)
        self.content = Modalities.configured(config, dataset.field2id_token[self.ITEM_ID], self.device)
        self.projections = Projections(self.content, dim)
        self.raw_graphs = {m: self.raw_graph(m) for m in self.content.names}
        self.modality_logits = nn.Parameter(torch.zeros(len(self.content.names)))
        users, items = dataset.inter_feat[self.USER_ID], dataset.inter_feat[self.ITEM_ID]
        sizes = {"n_users": self.n_users, "n_items": self.n_items}
        adjacency = interaction_adjacency(users, items, **sizes, normalisation=config["adjacency"])
        self.interactions = Propagation(adjacency.to(self.device))
        self._graph: Propagation | None = None

    def forget(self) -> None:
        """Also drop the fused graph: the next forward pass builds it anew."""
        super().forget()
        self._graph = None

    def raw_graph(self, modality: str) -> ItemGraph:
        """The neighbour graph of the raw features."""
        return self.content.graph(modality, self.settings["knn_k"])

    def substituted(self, modality: str, item: int, vector: Float[Tensor, " width"]) -> LATTICE:
        """A twin on the same weights whose item has these features; all graphs of the modality are built anew."""
        twin = copy.copy(self)
        twin._modules = {**self._modules, "content": self.content.substituted(modality, item, vector)}
        twin.raw_graphs = {**self.raw_graphs, modality: twin.raw_graph(modality)}
        twin.forget()
        return twin

    def graphs(self, modality: str) -> list[tuple[Tensor, ItemGraph]]:
        """The raw and the learned graph of a modality under the present weights, with their shares of A."""
        alpha = self.modality_logits.softmax(dim=0)[self.content.position(modality)]
        share = self.settings["lambda_coeff"]
        vectors = self.projections.of(modality)(self.content.features(modality))
        learned = self.content.graph(modality, self.settings["knn_k"], vectors)
        return [(alpha * share, self.raw_graphs[modality]), (alpha * (1 - share), learned)]

    def hidden(self) -> Float[Tensor, "items dim"]:
        """The content part A^L E_item. On the first batch of an epoch A carries gradient."""
        if self._graph is not None:
            return self._propagated(self._graph)
        row, column, value = mixed_edges([part for m in self.content.names for part in self.graphs(m)])
        self._graph = graph = Propagation(csr(row, column, value.detach(), self.n_items))
        if not torch.is_grad_enabled():
            return self._propagated(graph)
        return self._propagated(lambda x: propagate_edges(x, row, column, value, graph))

    def _propagated(self, step: Callable[[Tensor], Tensor]) -> Float[Tensor, "items dim"]:
        h = self.item_embedding.weight
        for _ in range(self.settings["n_layers"]):
            h = step(h)
        return h

    def collaborative(self) -> tuple[Float[Tensor, "users dim"], Float[Tensor, "items dim"]]:
        """LightGCN's embeddings, from interactions alone."""
        initial = torch.cat([self.user_embedding.weight, self.item_embedding.weight])
        final = layer_mean(self.interactions, initial, self.settings["n_ui_layers"])
        return final[: self.n_users], final[self.n_users :]

    def forward(self) -> tuple[Float[Tensor, "users dim"], Float[Tensor, "items dim"]]:
        """Final embeddings of all users and items."""
        users, items = self.collaborative()
        return users, items + functional.normalize(self.hidden(), dim=-1)

    def calculate_loss(self, interaction: Any) -> tuple[Tensor, ...]:
        """BPR, and `reg_weight` times the norm of the propagated batch."""
        user, item, other = (interaction[key] for key in (self.USER_ID, self.ITEM_ID, self.NEG_ITEM_ID))
        users, items = self.forward()
        # embedding() has a faster gradient than indexing.
        batch = [functional.embedding(*pair) for pair in ((user, users), (item, items), (other, items))]
        loss = bpr_loss((batch[0] * batch[1]).sum(-1), (batch[0] * batch[2]).sum(-1))
        return loss, self.settings["reg_weight"] * half_squared_norm(*batch)

    @torch.no_grad()
    def frozen(self, modality: str) -> FrozenGraphRanker:
        """Everything that a substituted item needs, copied; the ranker stays as it is, in its mode.

        Raises:
            ValueError: the ranker has no such modality.
        """
        self.content.position(modality)
        parts = {m: self.graphs(m) for m in self.content.names}
        projection = self.projections.of(modality)
        layers = (None, (projection.weight.detach().clone(), projection.bias.detach().clone()))
        before = self.item_embedding.weight.clone()
        everything = [part for m in parts for part in parts[m]]
        for _ in range(self.settings["n_layers"] - 1):
            before = propagate_edges(before, *mixed_edges(everything))
        rest = [part for m in parts if m != modality for part in parts[m]]
        users, items = self.collaborative()
        h = propagate_edges(before, *mixed_edges(everything))
        return FrozenGraphRanker(
            users=users,
            items=items + functional.normalize(h, dim=-1),
            collaborative=items,
            before=before,
            rest=propagate_edges(before, *mixed_edges(rest)) if rest else torch.zeros_like(before),
            graphs=tuple(
                OpenGraph(graph.detached(), float(weight), layer)
                for (weight, graph), layer in zip(parts[modality], layers, strict=True)
                if weight
            ),
            normalised=True,
        )


def _check(config: Any) -> None:
    for key, least in (("embedding_size", 1), ("n_ui_layers", 0), ("n_layers", 1), ("knn_k", 1)):
        check_whole(config, key, least=least)
    check_choice(config, "adjacency", get_args(Normalisation))
    check_between(config, "lambda_coeff", 0, 1)
    check_between(config, "reg_weight", 0)
