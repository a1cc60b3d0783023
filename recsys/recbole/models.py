"""RecBole's model classes: the base of every ranker, and what is asked of any of its models."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from jaxtyping import Float, Int
from torch import Tensor

from recsys.recbole.isolation import isolated

with isolated():
    import recbole.config.configurator
    import recbole.data
    import recbole.data.dataset
    import recbole.data.interaction
    import recbole.model.abstract_recommender
    import recbole.model.general_recommender
    import recbole.trainer.trainer
    import recbole.utils
    import recbole.utils.argument_list


GeneralRecommender = recbole.model.abstract_recommender.GeneralRecommender


InputType = recbole.utils.InputType


RecBolePop = recbole.model.general_recommender.Pop


BaseTrainer = recbole.trainer.trainer.Trainer


@torch.no_grad()
def full_scores(ranker: Any, users: Int[Tensor, " batch"]) -> Float[Tensor, "batch items"]:
    """Scores of all items for some users, by any of the rankers; the padding column is -inf."""
    interaction = recbole.data.interaction.Interaction({ranker.USER_ID: users})
    with isolated():
        scores = ranker.full_sort_predict(interaction.to(ranker.device)).view(len(users), -1).float()
    return scores.index_fill(1, torch.zeros(1, dtype=torch.long, device=scores.device), -torch.inf)


@contextlib.contextmanager
def without_folders() -> Iterator[None]:
    """Construct RecBole's trainer inside: it would open folders for TensorBoard and checkpoints where we stand."""
    with mock.patch.multiple(recbole.trainer.trainer, get_tensorboard=mock.DEFAULT, ensure_dir=mock.DEFAULT):
        yield


def is_counting(ranker: Any) -> bool:
    """Whether the ranker (Pop, ItemKNN) is done after one pass; a second one would count everything twice."""
    return ranker.type == recbole.utils.ModelType.TRADITIONAL
