"""RecBole's base classes for rankers and trainers, and functions that work on any of its models."""

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
    import recbole.data.interaction
    import recbole.model.abstract_recommender
    import recbole.model.general_recommender
    import recbole.trainer.trainer
    import recbole.utils

GeneralRecommender = recbole.model.abstract_recommender.GeneralRecommender
"""The base class of every ranker."""

InputType = recbole.utils.InputType
"""Whether a ranker trains on single interactions or on pairs of a positive and a negative item."""

ModelType = recbole.utils.ModelType
"""Kinds of rankers; `TRADITIONAL` ones are done after one pass over the interactions."""

RecBolePop = recbole.model.general_recommender.Pop
"""RecBole's popularity ranker."""

BaseTrainer = recbole.trainer.trainer.Trainer
"""RecBole's trainer."""


def general_recommender(name: str) -> type:
    """One of RecBole's general recommenders by its class's name."""
    return getattr(recbole.model.general_recommender, name)


@torch.no_grad()
def full_scores(ranker: Any, users: Int[Tensor, " batch"]) -> Float[Tensor, "batch items"]:
    """Scores of all items for the given users, by any ranker; the padding column is -inf."""
    interaction = recbole.data.interaction.Interaction({ranker.USER_ID: users})
    with isolated():
        scores = ranker.full_sort_predict(interaction.to(ranker.device)).view(len(users), -1).float()
    return scores.index_fill(1, torch.zeros(1, dtype=torch.long, device=scores.device), -torch.inf)


@contextlib.contextmanager
def without_folders() -> Iterator[None]:
    """Stop RecBole's trainer from creating folders for TensorBoard and checkpoints in the working directory.

    It does so in its constructor: construct it inside this context.
    """
    with mock.patch.multiple(recbole.trainer.trainer, get_tensorboard=mock.DEFAULT, ensure_dir=mock.DEFAULT):
        yield


def is_counting(ranker: Any) -> bool:
    """Whether the ranker (Pop, ItemKNN, EASE) only counts interactions: a second epoch would count everything twice."""
    return ranker.type == ModelType.TRADITIONAL
