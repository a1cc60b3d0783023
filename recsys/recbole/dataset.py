"""Interactions read, numbered and split by RecBole: internal ids of users and items, and a data loader of each part."""

from __future__ import annotations

import contextlib
import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args
from unittest import mock

import numpy as np
import scipy.sparse
from jaxtyping import Int

from recsys.recbole.isolation import isolated

with isolated():
    import recbole.data

from recsys.recbole.atomic_files import AtomicFileDataset
from recsys.recbole.config import Config
from recsys.recbole.negatives import TrainingItemSampler
from recsys.recbole.splits import HeldOutPhase, Phase

# Users and items of the same interactions, as internal ids.
Pairs = tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"]]


@dataclass(frozen=True)
class Interactions:
    """The split: users and items of each part as internal ids, sorted by user and then chronologically."""

    train: Pairs
    valid: Pairs
    test: Pairs


class Dataset:
    """Interactions read, numbered and split by RecBole.

    Internal ids index `user_tokens` and `item_tokens`; row 0 of both is padding. Items of `<dataset>.item` have ids
    even without any interaction.

    Attributes:
        config: the complete RecBole configuration.
        user_tokens: tokens by internal id.
        item_tokens: tokens by internal id.
        interactions: the training, validation and test interactions.
    """

    def __init__(self, config: Config, whole: Any, parts: Sequence[Any]) -> None:
        self.config = config
        self.user_tokens: np.ndarray = whole.field2id_token[whole.uid_field]
        self.item_tokens: np.ndarray = whole.field2id_token[whole.iid_field]
        self.interactions = Interactions(*(_pairs(part) for part in parts))
        self._whole, self._parts = whole, parts
        self._users, self._items = whole.field2token_id[whole.uid_field], whole.field2token_id[whole.iid_field]
        users = self.interactions.train[0]
        self._starts = np.searchsorted(users, np.arange(self.n_users + 1))

    @classmethod
    def load(cls, config: Mapping[str, Any]) -> Dataset:
        """Read `<data_path>/<dataset>/<dataset>.inter` (and `.item`) and split it.

        Args:
            config: RecBole's keys. By default each user's interactions are split chronologically, 80/10/10.

        Raises:
            ValueError: an unknown key, a missing column, or nothing left after filtering.
            FileNotFoundError: the folder or its `.inter` file is missing.
        """
        complete = Config(config)
        with isolated(complete["split_seed"]):
            whole = AtomicFileDataset(complete)
            parts = whole.build()
        dataset = cls(complete, whole, parts)
        if complete["eval_batch_size"] is None:
            # RecBole scores eval_batch_size // n_items users at a time: at most 2^24 scores (64 MB), 1024 users.
            complete["eval_batch_size"] = dataset.n_items * max(1, min(1024, 2**24 // dataset.n_items))
        return dataset

    @property
    def n_users(self) -> int:
        """Number of users, including the padding row."""
        return len(self.user_tokens)

    @property
    def n_items(self) -> int:
        """Number of items, including the padding row."""
        return len(self.item_tokens)

    def user_id(self, token: str) -> int:
        """Internal id of a user; KeyError for an unknown token."""
        return self._users[str(token)]

    def item_id(self, token: str) -> int:
        """Internal id of an item; KeyError for an unknown token."""
        return self._items[str(token)]

    def history(self, user: int) -> Int[np.ndarray, " n"]:
        """Items of the user's training interactions in chronological order."""
        return self.interactions.train[1][self._starts[user] : self._starts[user + 1]]

    def candidates(self, phase: HeldOutPhase) -> Int[np.ndarray, " candidates"] | None:
        """Internal ids of the items that this split ranks in a phase; None: all items.

        Under `COLD` these are the items that are withheld for the phase, so that items without training interactions
        compete with each other only; any ranker that learns from clicks places the other items first.
        """
        if not self.config.is_cold_start:
            return None
        return np.unique(getattr(self.interactions, phase)[1])

    def digest(self) -> str:
        """Hash of the internal ids and of the split: data sets with the same digest train the same ranker."""
        digest = hashlib.sha256()
        for tokens in (self.user_tokens, self.item_tokens):
            digest.update("\0".join(map(str, tokens)).encode())
        for users, items in vars(self.interactions).values():
            digest.update(np.ascontiguousarray(users, np.int64).tobytes())
            digest.update(np.ascontiguousarray(items, np.int64).tobytes())
        return digest.hexdigest()

    def new_ranker(self) -> Any:
        """An untrained ranker of the configured class; its initial weights depend on the key `seed` alone."""
        with isolated(self.config["seed"]), _dok_with_update():
            return self.config.model_class(self.config, self._parts[0]).to(self.config["device"])

    def with_features(self, features: Mapping[str, Path]) -> Dataset:
        """The same interactions and split, whose rankers read other feature tables in some modalities."""
        other, config = copy.copy(self), copy.copy(self.config)
        tables: dict[str, Any] = dict(self.config["features"] or {})
        tables |= {modality: str(path) for modality, path in features.items()}
        config.final_config_dict = {**self.config.final_config_dict, "features": tables}
        other.config = config
        return other

    def loader(self, phase: Phase) -> Any:
        """RecBole's data loader of a phase: train (with negative samples), valid or test."""
        samplers = list(recbole.data.create_samplers(self.config, self._whole, self._parts))
        if self.config.is_cold_start and samplers[0] is not None:
            arguments: Any = self.config["train_neg_sample_args"]
            cold = TrainingItemSampler(self._parts[0], arguments["distribution"], arguments["alpha"])
            samplers[0] = cold.set_phase("train")
        position = get_args(Phase).index(phase)
        build: Any = recbole.data.get_dataloader(self.config, phase)
        shuffle = phase == "train" and self.config["shuffle"]
        # A copy: the loader for evaluation sorts its data in place.
        part = self._parts[position].copy(copy.deepcopy(self._parts[position].inter_feat))
        return build(self.config, part, samplers[position], shuffle=shuffle)


def _update_dok(matrix: Any, values: Mapping[Any, Any]) -> None:
    for position, value in values.items():
        matrix[position] = value


@contextlib.contextmanager
def _dok_with_update() -> Iterator[None]:
    """Provide `dok_matrix._update`, which RecBole's graph rankers call and which scipy 1.13 removed."""
    if hasattr(scipy.sparse.dok_matrix, "_update"):
        yield
        return
    with mock.patch.object(scipy.sparse.dok_matrix, "_update", _update_dok, create=True):
        yield


def _pairs(part: Any) -> Pairs:
    users, items, order = (part.inter_feat[field].numpy() for field in (part.uid_field, part.iid_field, "order"))
    by_user = np.lexsort((order, users))  # the last key is the primary one
    return users[by_user], items[by_user]
