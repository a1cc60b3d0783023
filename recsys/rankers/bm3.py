"""BM3: learns from clicks without negatives, each view of an item predicting another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from recsys.rankers.graph_ranker import GraphRanker
from recsys.rankers.modalities import Modalities, Projections
from recsys.recbole.models import InputType
from recsys.settings import check_between, check_whole


class BM3(GraphRanker):
    """BM3 (Zhou et al., WWW 2023): bootstrapped alignment, no negatives, for any number of modalities.

    h_u and h_i are LightGCN's, h_i with the item's own embedding added once more (eq. 5); P is a linear predictor;
    a bar means without gradient and with `dropout`. With C(a, b) = 1 - cos(a, b), the mean over the batch of
    C(P h_u, bar h_i) + C(P h_i, bar h_u) (eq. 8-9), plus `cl_weight` times, per modality with its projection
    t = T_m f_i, C(P t, bar h_i) + C(P t, bar t) (eq. 10-12). The third part is `reg_weight` times (|h_users| +
    |h_items|) / items, unsquared norms over everything, as the reference code computes it.

    score = P h_u . P h_i. **It reads no image when it scores**: content only shapes the embeddings in training, so
    that there is no `frozen` and no counterfactual score. An item without a modality adds nothing to that
    modality's loss; the mean is over the whole batch all the same.
    """

    input_type = InputType.POINTWISE
    LOSSES = ("interaction", "content", "reg")
    DEFAULTS: ClassVar[Mapping[str, Any]] = {
        "embedding_size": 64,
        "n_layers": 1,
        "dropout": 0.3,
        "cl_weight": 2.0,
        "reg_weight": 0.1,
        "train_neg_sample_args": None,
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
        dim = config["embedding_size"]
        self.user_embedding, self.item_embedding = nn.Embedding(self.n_users, dim), nn.Embedding(self.n_items, dim)
        self.predictor = nn.Linear(dim, dim)
        self.content = Modalities.configured(config, dataset.field2id_token[self.ITEM_ID], self.device)
        self.projections = Projections(self.content, dim)
        for embedding in (self.user_embedding, self.item_embedding):
            nn.init.xavier_uniform_(embedding.weight)
        for linear in (self.predictor, *map(self.projections.of, self.content.names)):
            nn.init.xavier_normal_(linear.weight)
        self.graph = self.propagation(dataset.inter_feat[self.USER_ID], dataset.inter_feat[self.ITEM_ID])

    def online(self) -> tuple[Float[Tensor, "users dim"], Float[Tensor, "items dim"]]:
        """h_u and h_i of all users and items, before the predictor."""
        users, items = self.lightgcn(self.graph, self.settings["n_layers"])
        return users, items + self.item_embedding.weight

    def forward(self) -> tuple[Float[Tensor, "users dim"], Float[Tensor, "items dim"]]:
        """P h of all users and items."""
        users, items = self.online()
        return self.predictor(users), self.predictor(items)

    def target(self, online: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
        """Another view without gradient: each number is 0 with probability p = `dropout`, else divided by 1 - p."""
        kept = torch.rand(online.shape, generator=self.generator) >= self.settings["dropout"]
        return online.detach() * kept.to(online.device) / (1 - self.settings["dropout"])

    def calculate_loss(self, interaction: Any) -> tuple[Tensor, ...]:
        """The three parts of the loss of one batch of clicks."""
        item = interaction[self.ITEM_ID]
        users, items = self.online()
        # embedding() has a faster gradient than indexing.
        user, liked = functional.embedding(interaction[self.USER_ID], users), functional.embedding(item, items)
        user_target, item_target = self.target(user), self.target(liked)
        aligned = _distance(self.predictor(user), item_target) + _distance(self.predictor(liked), user_target)
        content = [self._content(modality, item, item_target) for modality in self.content.names]
        size = (users.norm() + items.norm()) / self.n_items
        weighted = self.settings["cl_weight"] * torch.stack(content).sum()
        return aligned.mean(), weighted, self.settings["reg_weight"] * size

    def _content(self, modality: str, item: Tensor, item_target: Float[Tensor, "batch dim"]) -> Float[Tensor, ""]:
        view = self.projections.of(modality)(self.content.features(modality)[item])
        predicted = self.predictor(view)
        distance = _distance(predicted, item_target) + _distance(predicted, self.target(view))
        return (distance * self.content.has(modality)[item]).mean()


def _distance(one: Float[Tensor, "batch dim"], two: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
    return 1 - functional.cosine_similarity(one, two, dim=-1)


def _check(config: Any) -> None:
    for key, least in (("embedding_size", 1), ("n_layers", 0)):
        check_whole(config, key, least=least)
    check_between(config, "dropout", 0, 1, open_end=True)
    for key in ("cl_weight", "reg_weight"):
        check_between(config, key, 0)
    sampling = config["train_neg_sample_args"]["distribution"]
    if sampling != "none":
        raise ValueError(f"train_neg_sample_args asks for {sampling} negatives, but BM3 takes none: leave the key out")
