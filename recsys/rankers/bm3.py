"""BM3: bootstrapped learning from interactions without negative samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from recsys.rankers.defaults import DEFAULTS
from recsys.rankers.graph_ranker import GraphRanker
from recsys.rankers.modalities import Modalities, Projections
from recsys.recbole.models import InputType
from recsys.settings import check_between, check_whole


class BM3(GraphRanker):
    """BM3 (Zhou et al., WWW 2023): bootstrapped alignment without negatives, for any number of modalities.

    h_u and h_i are LightGCN's, h_i with the item's own embedding added once more (eq. 5); P is a linear predictor;
    a bar means without gradient and with `dropout`. With C(a, b) = 1 - cos(a, b), the loss is the mean over the batch
    of C(P h_u, bar h_i) + C(P h_i, bar h_u) (eq. 8-9), plus `cl_weight` times, per modality with its projection
    t = T_m f_i, C(P t, bar h_i) + C(P t, bar t) (eq. 10-12). The third part is `reg_weight` times (|h_users| +
    |h_items|) / items, unsquared norms of the whole tables, as the reference code computes it.

    score = P h_u . P h_i. **Scoring reads no features**: content only shapes the embeddings in training, so that there
    is no `frozen` and no counterfactual score. An item without a modality adds nothing to that modality's loss; the
    mean is still over the whole batch.
    """

    input_type = InputType.POINTWISE
    LOSSES = ("interaction", "content", "reg")
    DEFAULTS: ClassVar[Mapping[str, Any]] = DEFAULTS["BM3"]

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
        """The target view: no gradient; each value is 0 with probability p = `dropout`, else divided by 1 - p."""
        # Not functional.dropout: the mask comes from the ranker's own generator, on the CPU whatever the device.
        mask = torch.rand(online.shape, generator=self.generator) >= self.settings["dropout"]
        return online.detach() * mask.to(online.device) / (1 - self.settings["dropout"])

    def calculate_loss(self, interaction: Any) -> tuple[Tensor, ...]:
        """The three parts of the loss of one batch of interactions."""
        item_ids = interaction[self.ITEM_ID]
        users, items = self.online()
        # embedding() has a faster gradient than indexing.
        user, item = functional.embedding(interaction[self.USER_ID], users), functional.embedding(item_ids, items)
        user_target, item_target = self.target(user), self.target(item)
        alignment = _distance(self.predictor(user), item_target) + _distance(self.predictor(item), user_target)
        content = [self._content_loss(modality, item_ids, item_target) for modality in self.content.names]
        norms = (users.norm() + items.norm()) / self.n_items
        weighted_content = self.settings["cl_weight"] * torch.stack(content).sum()
        return alignment.mean(), weighted_content, self.settings["reg_weight"] * norms

    def _content_loss(
        self, modality: str, item_ids: Int[Tensor, " batch"], item_target: Float[Tensor, "batch dim"]
    ) -> Float[Tensor, ""]:
        """Alignment of the projected features of one modality with the item and with themselves (eq. 10-12)."""
        projected = self.projections.of(modality)(self.content.features(modality)[item_ids])
        predicted = self.predictor(projected)
        distance = _distance(predicted, item_target) + _distance(predicted, self.target(projected))
        return (distance * self.content.mask(modality)[item_ids]).mean()


def _distance(a: Float[Tensor, "batch dim"], b: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
    return 1 - functional.cosine_similarity(a, b, dim=-1)


def _check(config: Any) -> None:
    for key, least in (("embedding_size", 1), ("n_layers", 0)):
        check_whole(config, key, least=least)
    check_between(config, "dropout", 0, 1, open_end=True)
    for key in ("cl_weight", "reg_weight"):
        check_between(config, key, 0)
    sampling = config["train_neg_sample_args"]["distribution"]
    if sampling != "none":
        raise ValueError(f"train_neg_sample_args asks for {sampling} negatives, but BM3 takes none: leave the key out")
