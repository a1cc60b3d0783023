"""RecBole's configuration of one ranker: its keys, this library's defaults, and checks that refuse unknown keys."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import torch
import yaml

from recsys import distributed
from recsys.features import Missing
from recsys.recbole.isolation import isolated

with isolated():
    import recbole.config.configurator
    import recbole.utils.argument_list

from recsys.recbole.registry import code_of, did_you_mean, ranker_class

_PROPERTIES = Path(recbole.config.configurator.__file__).parent.parent / "properties"

# Where this library differs from RecBole's own defaults, for every ranker.
DEFAULTS: Mapping[str, Any] = {
    "use_gpu": False,  # the counterfactual score and the reward live on the CPU in this version
    "split_seed": 0,  # RecBole splits by `seed`, and every training seed would have its own test set
    "encoding": "utf-8",
    "load_col": {"inter": ["user_id", "item_id", "rating", "timestamp"], "item": ["item_id"]},
    "rm_dup_inter": "first",
    "eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "group_by": "user", "order": "TO", "mode": "full"},
    "metrics": ["Recall", "NDCG"],
    "topk": [10, 20],
    "valid_metric": "Recall@20",
    "metric_decimal_place": 8,  # RecBole rounds to 4, and epochs that differ by less tie in validation
    "eval_batch_size": None,  # set by `Dataset.load` from the number of items
    "show_progress": False,
    "lr_decay": None,
    "lr_decay_epochs": 50,
    "features": {},
    "knn_exact_items": 50_000,
    "knn_n_probe": 16,
    "knn_n_cells": None,
    "missing_features": "hole",
}

# RecBole's kinds of split (RS, LS, TS) and two of this library's. RecBole's own kind for a given split,
# `benchmark_filename`, needs one file per part and cuts the rows by number: it would switch off every filter and the
# exact chronological order.
_SPLITS = {"RS", "LS", "TS", "LABEL", "COLD"}

_NESTED_KEYS = {
    "eval_args": {"split", "group_by", "order", "mode"},
    "train_neg_sample_args": {"distribution", "sample_num", "alpha", "dynamic", "candidate_num"},
}


class _YamlLoader(yaml.SafeLoader):
    """Reads 1e-3 as a number, as RecBole does; plain YAML 1.1 requires a dot and reads a string."""


_YamlLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d[\d_]*)(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def known_keys(model_name: str) -> set[str]:
    """All keys that RecBole or the ranker reads from a configuration of this ranker."""
    files = (_PROPERTIES / "overall.yaml", _PROPERTIES / "dataset/sample.yaml")
    keys = {"model", "dataset", *DEFAULTS, *getattr(ranker_class(model_name), "DEFAULTS", {})}
    for file in (*files, _PROPERTIES / f"model/{model_name}.yaml"):
        if file.is_file():
            keys |= set(yaml.load(file.read_text(encoding="utf-8"), Loader=_YamlLoader) or {})
    for name in ("general", "training", "evaluation", "dataset"):
        keys |= set(getattr(recbole.utils.argument_list, f"{name}_arguments"))
    return keys


def check_keys(config: Mapping[str, Any]) -> None:
    """Refuse unknown keys, and impossible values of `eval_args.split`, `features` and `missing_features`.

    Raises:
        ValueError: a key is unknown (the message suggests the closest valid one), or a value is impossible.
    """
    model = config.get("model", "LightGCN")
    for key in config:
        if key not in (known := known_keys(model)):
            raise ValueError(f"unknown key {key!r} for the ranker {model}{did_you_mean(key, known)}")
    for parent, known in _NESTED_KEYS.items():
        for key in config.get(parent) or {}:
            if key not in known:
                raise ValueError(f"unknown key {parent}.{key!r}{did_you_mean(key, known)}")
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
    """The same configuration for another ranker, without the keys that this ranker does not read."""
    known = known_keys(model)
    return {key: value for key, value in config.items() if key in known} | {"model": model}


class Config(recbole.config.configurator.Config):
    """RecBole's configuration of one ranker, read from a mapping only: no files, no argv, no evaluated strings.

    Values come from, in ascending priority: RecBole's defaults, `DEFAULTS` of this module, the ranker's `DEFAULTS`,
    the mapping.

    Raises:
        ValueError: an unknown key, an impossible value, or no `dataset` or `data_path`.
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
            # Entries that are not configured keep the defaults above, not RecBole's.
            values["eval_args"] = {**DEFAULTS["eval_args"], **values["eval_args"]}
        self._data_folder = str(Path(values["data_path"]) / values["dataset"])
        with isolated():
            super().__init__(model=model, dataset=values["dataset"], config_dict=values)
        self._check_cold_start()
        columns = (self["load_col"] or {}).get("inter")
        if self.label_column is not None and isinstance(columns, list) and self.label_column not in columns:
            columns.append(self.label_column)

    def _check_cold_start(self) -> None:
        """Refuse what has no meaning for items without training interactions."""
        evaluation, repeatable = (self.final_config_dict[key] for key in ("eval_args", "repeatable"))
        if self.is_cold_start and set(evaluation["mode"].values()) != {"full"}:
            raise ValueError(
                f"eval_args.mode is {evaluation['mode']}, but the split COLD ranks all withheld items: mode: full"
            )
        if self.is_cold_start and repeatable:
            raise ValueError("repeatable is true, but under the split COLD no item stands in two parts; leave it out")

    @property
    def label_column(self) -> str | None:
        """The column that holds the split, from `eval_args: {split: {LABEL: <column>}}`; None for other splits."""
        return self.final_config_dict["eval_args"]["split"].get("LABEL")

    @property
    def is_cold_start(self) -> bool:
        """Whether items are withheld from training, by `eval_args: {split: {COLD: <a share of the items>}}`."""
        return "COLD" in self.final_config_dict["eval_args"]["split"]

    @property
    def code(self) -> Path | None:
        """The source file of a user's ranker (see `registry.code_of`)."""
        return code_of(self._ranker)

    def compatibility_settings(self) -> None:
        """Do nothing. RecBole sets removed NumPy names for the whole process here; `isolated` does so for a while."""

    def _build_yaml_loader(self) -> type:
        return _YamlLoader

    def _convert_config_dict(self, config_dict: dict[str, Any]) -> dict[str, Any]:
        return config_dict  # RecBole calls eval() on every string.

    def _load_cmd_line(self) -> dict[str, Any]:
        return {}

    def _load_internal_config_dict(self, model: str, model_class: type, dataset: str) -> None:
        # Without the data set's name: RecBole's presets for "ml-100k" would replace our columns and filters.
        super()._load_internal_config_dict(model, model_class, "")
        self.internal_config_dict.update(copy.deepcopy(dict(DEFAULTS)))
        self.internal_config_dict.update(copy.deepcopy(dict(getattr(model_class, "DEFAULTS", {}))))

    def _set_default_parameters(self) -> None:
        super()._set_default_parameters()
        # RecBole replaces the path of every data set called "ml-100k" by that of its own copy.
        self.final_config_dict["data_path"] = self._data_folder

    def _init_device(self) -> None:
        gpu = self.final_config_dict["use_gpu"] and torch.cuda.is_available()
        first = int(str(self.final_config_dict["gpu_id"]).split(",")[0] or 0)
        self.final_config_dict["device"] = torch.device(f"cuda:{distributed.gpu(first)}" if gpu else "cpu")
        # RecBole's own method would set CUDA_VISIBLE_DEVICES and start a second process group.
        self.final_config_dict.update(single_spec=True, local_rank=0)

    def plain(self) -> dict[str, Any]:
        """The final values of all `known_keys`, sorted by key."""
        known = known_keys(self._ranker)
        return {key: value for key, value in sorted(self.final_config_dict.items()) if key in known}
