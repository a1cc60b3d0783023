"""The door to RecBole 1.2.1: its configuration, data set, split, sampler, trainer base and evaluator.

Nothing else in this library imports recbole. What RecBole does to a process on the way (argv, environment, NumPy
names, global seeds, the root logger, folders in the working directory) stays behind this door.
"""

from __future__ import annotations

import contextlib
import copy
import difflib
import hashlib
import importlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args
from unittest import mock

import numpy as np
import scipy.sparse
import torch
import yaml
from jaxtyping import Float, Int
from torch import Tensor

from recsys import distributed
from recsys.features import Missing
from recsys.recbole.isolation import isolated
from recsys.recbole.splits import Parts, by_label, cold_start

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

_PROPERTIES = Path(recbole.config.configurator.__file__).parent.parent / "properties"

# Our rankers by name; every other name is looked up among RecBole's general recommenders.
_OURS = {
    "BM3": "recsys.rankers.bm3",
    "FREEDOM": "recsys.rankers.freedom",
    "LATTICE": "recsys.rankers.lattice",
    "LightGCN": "recsys.rankers.lightgcn",
    "MICRO": "recsys.rankers.micro",
    "Pop": "recsys.rankers.pop",
    "VBPR": "recsys.rankers.vbpr",
}

# Where we differ from RecBole's own defaults, for every ranker.
DEFAULTS: Mapping[str, Any] = {
    "use_gpu": False,  # the counterfactual score and the reward live on the CPU in this version
    "split_seed": 0,
    "encoding": "utf-8",
    "load_col": {"inter": ["user_id", "item_id", "rating", "timestamp"], "item": ["item_id"]},
    "rm_dup_inter": "first",
    "eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "group_by": "user", "order": "TO", "mode": "full"},
    "metrics": ["Recall", "NDCG"],
    "topk": [10, 20],
    "valid_metric": "Recall@20",
    "metric_decimal_place": 8,
    "eval_batch_size": None,
    "show_progress": False,
    "lr_decay": None,
    "lr_decay_epochs": 50,
    "features": {},
    "knn_exact_items": 50_000,
    "knn_n_probe": 16,
    "knn_n_cells": None,
    "missing_features": "hole",
}

# RecBole's ways to split, and two of ours. Its own for a given split, `benchmark_filename`, wants one file a part and
# cuts the rows by their number: it would switch off every filter, and the order in time that we keep to the second.
_SPLITS = {"RS", "LS", "TS", "LABEL", "COLD"}

_NESTED_KEYS = {
    "eval_args": {"split", "group_by", "order", "mode"},
    "train_neg_sample_args": {"distribution", "sample_num", "alpha", "dynamic", "candidate_num"},
}


class _YamlLoader(yaml.SafeLoader):
    """YAML in which 1e-3 is a number, as RecBole reads it."""


_YamlLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d[\d_]*)(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def ranker_class(name: str) -> type:
    """The ranker of that name: ours, otherwise RecBole's general recommenders (BPR, Pop, ItemKNN, ...).

    `package.module:Class` is a general recommender from anywhere, for example your own.

    Raises:
        ValueError: there is no such ranker; the nearest name is given.
    """
    module, colon, attribute = name.partition(":")
    if colon:
        return getattr(importlib.import_module(module), attribute)
    if name in _OURS:
        return getattr(importlib.import_module(_OURS[name]), name)
    found = getattr(recbole.model.general_recommender, name, None)
    if isinstance(found, type) and issubclass(found, GeneralRecommender):
        return found
    models = vars(recbole.model.general_recommender)
    names = {key for key, value in models.items() if isinstance(value, type)} | set(_OURS)
    raise ValueError(f"there is no ranker {name!r}{_nearest(name, names)}")


def code_of(name: str) -> Path | None:
    """The file of a ranker of one's own (`package.module:Class`), if it has one: another text makes another ranker."""
    module, own, _ = name.partition(":")
    file = getattr(importlib.import_module(module), "__file__", None) if own else None
    return None if file is None else Path(file)


def known_keys(model_name: str) -> set[str]:
    """Every key that RecBole or the ranker reads from a configuration of this ranker."""
    files = (_PROPERTIES / "overall.yaml", _PROPERTIES / "dataset/sample.yaml")
    keys = {"model", "dataset", *DEFAULTS, *getattr(ranker_class(model_name), "DEFAULTS", {})}
    for file in (*files, _PROPERTIES / f"model/{model_name}.yaml"):
        if file.is_file():
            keys |= set(yaml.load(file.read_text(encoding="utf-8"), Loader=_YamlLoader) or {})
    for name in ("general", "training", "evaluation", "dataset"):
        keys |= set(getattr(recbole.utils.argument_list, f"{name}_arguments"))
    return keys


def check_keys(config: Mapping[str, Any]) -> None:
    """Refuse a key that nobody reads.

    Raises:
        ValueError: names the key and the nearest valid one.
    """
    model = config.get("model", "LightGCN")
    for key in config:
        if key not in (known := known_keys(model)):
            raise ValueError(f"unknown key {key!r} for the ranker {model}{_nearest(key, known)}")
    for parent, known in _NESTED_KEYS.items():
        for key in config.get(parent) or {}:
            if key not in known:
                raise ValueError(f"unknown key {parent}.{key!r}{_nearest(key, known)}")
    _check_split((config.get("eval_args") or {}).get("split", {"RS": []}))
    _check_features(config)


def _check_split(split: Any) -> None:
    if not isinstance(split, Mapping) or len(split) != 1 or not set(split) <= _SPLITS:
        raise ValueError(
            f"eval_args.split is {split!r}, but must be one of RS: [0.8, 0.1, 0.1], LS: valid_and_test, "
            "TS: [0.8, 0.1, 0.1], LABEL: <the column that holds 0, 1 or 2>, COLD: <a share of the items>"
        )


def _check_features(config: Mapping[str, Any]) -> None:
    features = config.get("features") or {}
    if not isinstance(features, Mapping):
        raise ValueError(f"features is {features!r}, but must map modalities to files: {{image: image.safetensors}}")
    for modality, path in features.items():
        if not path or not isinstance(path, (str, Path)):
            raise ValueError(f"features names the modality {modality!r} but no file of it; name one or leave it out")
    missing = config.get("missing_features", "hole")
    if missing not in get_args(Missing):
        raise ValueError(f"missing_features is {missing!r}, but must be one of {', '.join(get_args(Missing))}")


def with_ranker(config: Mapping[str, Any], model: str) -> dict[str, Any]:
    """The same experiment under another ranker: keys that it does not read are left out."""
    known = known_keys(model)
    return {key: value for key, value in config.items() if key in known} | {"model": model}


def _nearest(word: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, sorted(names), n=1, cutoff=0)
    return f"; did you mean {close[0]!r}?" if close else ""


class Config(recbole.config.configurator.Config):
    """RecBole's configuration of one ranker, from a mapping alone: no files, no argv, no evaluated strings.

    Values come from, in rising priority: RecBole's defaults, ours, the ranker's `DEFAULTS`, the mapping.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        check_keys(config)
        values = copy.deepcopy(dict(config))
        if "dataset" not in values or "data_path" not in values:
            missing = "dataset" if "dataset" not in values else "data_path"
            raise ValueError(f"the configuration lacks {missing!r}: data are read from <data_path>/<dataset>/")
        self._ranker = values.pop("model", "LightGCN")
        model = ranker_class(self._ranker)
        if "eval_args" in values:
            values["eval_args"] = {**DEFAULTS["eval_args"], **values["eval_args"]}
        self._data_folder = str(Path(values["data_path"]) / values["dataset"])
        with isolated():
            super().__init__(model=model, dataset=values["dataset"], config_dict=values)
        columns = (self["load_col"] or {}).get("inter")
        if self.label_column is not None and isinstance(columns, list) and self.label_column not in columns:
            columns.append(self.label_column)

    @property
    def label_column(self) -> str | None:
        """The column of a given split, `eval_args: {split: {LABEL: <column>}}`."""
        return self.final_config_dict["eval_args"]["split"].get("LABEL")

    @property
    def code(self) -> Path | None:
        """The file of a ranker of one's own."""
        return code_of(self._ranker)

    def compatibility_settings(self) -> None:
        """Do nothing: the NumPy names exist inside `isolated` only."""

    def _build_yaml_loader(self) -> type:
        return _YamlLoader

    def _convert_config_dict(self, config_dict: dict[str, Any]) -> dict[str, Any]:
        return config_dict  # RecBole would eval() every string.

    def _load_cmd_line(self) -> dict[str, Any]:
        return {}

    def _load_internal_config_dict(self, model: str, model_class: type, dataset: str) -> None:
        # Without a data set's name: RecBole's presets for "ml-100k" would replace columns and filters of ours.
        super()._load_internal_config_dict(model, model_class, "")
        self.internal_config_dict.update(copy.deepcopy(dict(DEFAULTS)))
        self.internal_config_dict.update(copy.deepcopy(dict(getattr(model_class, "DEFAULTS", {}))))

    def _set_default_parameters(self) -> None:
        super()._set_default_parameters()
        # RecBole replaces the path of anything called "ml-100k" by its own copy.
        self.final_config_dict["data_path"] = self._data_folder

    def _init_device(self) -> None:
        gpu = self.final_config_dict["use_gpu"] and torch.cuda.is_available()
        first = int(str(self.final_config_dict["gpu_id"]).split(",")[0] or 0)
        self.final_config_dict["device"] = torch.device(f"cuda:{distributed.gpu(first)}" if gpu else "cpu")
        self.final_config_dict.update(single_spec=True, local_rank=0)

    def plain(self) -> dict[str, Any]:
        """What was decided, as JSON types; the keys that `known_keys` lists."""
        known = known_keys(self._ranker)
        return {key: value for key, value in sorted(self.final_config_dict.items()) if key in known}


class _AtomicFiles(recbole.data.dataset.Dataset):
    """RecBole's data set, with the order in time kept to the second and ties broken by a seeded shuffle."""

    def _download(self) -> None:
        raise FileNotFoundError(f"there is no data folder {self.dataset_path}; prepare the data set first")

    def _load_data(self, token: str, dataset_path: str) -> None:
        file = Path(dataset_path) / f"{token}.inter"
        if Path(dataset_path).is_dir() and not file.is_file():
            raise FileNotFoundError(f"{dataset_path} holds no {file.name}; prepare the data set first")
        super()._load_data(token, dataset_path)
        needed = [self.uid_field, self.iid_field]
        if self.config["eval_args"]["order"] == "TO":
            needed.append(self.time_field)
        if self.config.label_column is not None:
            needed.append(self.config.label_column)
        for column in needed:
            if column not in self.inter_feat:
                raise ValueError(f"{file} has no column {column!r}; it has {', '.join(self.inter_feat.columns)}")
        label = self.config.label_column
        if label is not None:
            if self.field2type[label] is not recbole.utils.FeatureType.FLOAT:
                raise ValueError(f"{file} declares {label} as {self.field2type[label].value}, write {label}:float")
            self._given_split(self.inter_feat[label].to_numpy(), str(file))

    @staticmethod
    def _given_split(labels: np.ndarray, where: str) -> Parts:
        try:
            return by_label(labels)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error

    def build(self) -> list[Any]:
        """The three parts: RecBole's splits, a given one, or one that withholds items."""
        ((kind, value),) = self.config["eval_args"]["split"].items()
        if kind not in ("LABEL", "COLD"):
            return super().build()
        self._change_feat_format()
        if kind == "LABEL":
            parts = self._given_split(self.inter_feat[value].numpy(), f"{self.dataset_path} after filtering")
        else:
            parts = cold_start(self.inter_feat[self.iid_field].numpy(), value, self.config["split_seed"])
        self._drop_unused_col()
        return [self.copy(self.inter_feat[rows]) for rows in parts]

    def _data_filtering(self) -> None:
        before = len(self.inter_feat)
        try:
            super()._data_filtering()
        except ValueError as error:
            raise ValueError(f"none of the {before} interactions in {self.dataset_path} is left: {error}") from error

    def _data_processing(self) -> None:
        super()._data_processing()
        # RecBole orders by a float32 time stamp, in which seconds since 1970 are rounded to whole minutes.
        shuffled = np.random.default_rng(self.config["split_seed"]).permutation(len(self.inter_feat))
        self.inter_feat = self.inter_feat.iloc[shuffled]
        if self.time_field in self.inter_feat:
            self.inter_feat = self.inter_feat.sort_values(self.time_field, kind="stable")
        self.inter_feat = self.inter_feat.reset_index(drop=True)
        token, interaction = recbole.utils.FeatureType.TOKEN, recbole.utils.FeatureSource.INTERACTION
        self.inter_feat["order"] = np.arange(len(self.inter_feat))
        self.set_field_property("order", token, interaction, 1)

    def sort(self, by: Any, ascending: Any = True) -> None:
        """As RecBole's, except that rows in order of time already lie so."""
        super().sort("order" if by == self.time_field else by, ascending)


Pairs = tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"]]
Phase = Literal["train", "valid", "test"]


@dataclass(frozen=True)
class Interactions:
    """The split: users and items of each part as internal ids, by user and then oldest first."""

    train: Pairs
    valid: Pairs
    test: Pairs


class Dataset:
    """Interactions read, numbered and split by RecBole.

    Internal ids index `user_tokens` and `item_tokens`; row 0 of both is padding. Items of `<dataset>.item` are
    numbered even when nobody ever touched them.

    Attributes:
        config: the complete RecBole configuration.
        user_tokens: tokens by internal id.
        item_tokens: tokens by internal id.
        interactions: the three parts.
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
            config: RecBole's keys. By default each person's interactions are split in time, 80/10/10.

        Raises:
            ValueError: an unknown key, a missing column, or nothing left after filtering.
            FileNotFoundError: the folder or its `.inter` file is missing.
        """
        full = Config(config)
        with isolated(full["split_seed"]):
            whole = _AtomicFiles(full)
            parts = whole.build()
        dataset = cls(full, whole, parts)
        if full["eval_batch_size"] is None:
            # RecBole scores eval_batch_size // n_items people at a time: 64 MB of scores.
            full["eval_batch_size"] = dataset.n_items * max(1, min(1024, 2**24 // dataset.n_items))
        return dataset

    @property
    def n_users(self) -> int:
        """Users, the padding row included."""
        return len(self.user_tokens)

    @property
    def n_items(self) -> int:
        """Items, the padding row included."""
        return len(self.item_tokens)

    def user_id(self, token: str) -> int:
        """Internal id of a user; KeyError if RecBole has none of that name."""
        return self._users[str(token)]

    def item_id(self, token: str) -> int:
        """Internal id of an item; KeyError if RecBole has none of that name."""
        return self._items[str(token)]

    def history(self, user: int) -> Int[np.ndarray, " n"]:
        """Items of the user's training interactions, oldest first."""
        return self.interactions.train[1][self._starts[user] : self._starts[user + 1]]

    def digest(self) -> str:
        """Hash of the numbering and of the split: two data sets with the same digest train the same ranker."""
        digest = hashlib.sha256()
        for tokens in (self.user_tokens, self.item_tokens):
            digest.update("\0".join(map(str, tokens)).encode())
        for users, items in vars(self.interactions).values():
            digest.update(np.ascontiguousarray(users, np.int64).tobytes())
            digest.update(np.ascontiguousarray(items, np.int64).tobytes())
        return digest.hexdigest()

    def new_ranker(self) -> Any:
        """An untrained ranker of the configured class; its weights depend on the key `seed` alone."""
        with isolated(self.config["seed"]), _fillable_dok():
            return self.config.model_class(self.config, self._parts[0]).to(self.config["device"])

    def loader(self, phase: Phase) -> Any:
        """RecBole's data loader of a phase: train (with negative samples), valid or test."""
        samplers = recbole.data.create_samplers(self.config, self._whole, self._parts)
        position = ("train", "valid", "test").index(phase)
        build: Any = recbole.data.get_dataloader(self.config, phase)
        shuffle = phase == "train" and self.config["shuffle"]
        # A copy: the loader for evaluation sorts its data in place.
        part = self._parts[position].copy(copy.deepcopy(self._parts[position].inter_feat))
        return build(self.config, part, samplers[position], shuffle=shuffle)


def _fill(matrix: Any, values: Mapping[Any, Any]) -> None:
    for position, value in values.items():
        matrix[position] = value


@contextlib.contextmanager
def _fillable_dok() -> Iterator[None]:
    """`dok_matrix._update`, with which RecBole's graph rankers fill theirs, is gone since scipy 1.13: put it back."""
    if hasattr(scipy.sparse.dok_matrix, "_update"):
        yield
        return
    with mock.patch.object(scipy.sparse.dok_matrix, "_update", _fill, create=True):
        yield


def _pairs(part: Any) -> Pairs:
    users, items, order = (part.inter_feat[field].numpy() for field in (part.uid_field, part.iid_field, "order"))
    by_user = np.lexsort((order, users))
    return users[by_user], items[by_user]


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
