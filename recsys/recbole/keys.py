"""RecBole's keys of one ranker, this library's defaults for them, and checks that refuse unknown keys.

Nothing here imports RecBole or torch: a config is checked against these keys before anything else happens.
"""

from __future__ import annotations

import re
import runpy
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, get_args

import yaml

from recsys.features import Missing
from recsys.recbole.registry import check_name, did_you_mean, own_defaults, recbole_folder

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

SEED = 2020
"""RecBole's own default of `seed`."""

# RecBole's kinds of split (RS, LS, TS) and two of this library's. RecBole's own kind for a given split,
# `benchmark_filename`, needs one file per part and cuts the rows by number: it would switch off every filter and the
# exact chronological order.
_SPLITS = {"RS", "LS", "TS", "LABEL", "COLD"}

MODE = re.compile(r"full|labeled|(uni|pop)[1-9]\d*")
"""Values of `eval_args.mode`; `uni100` ranks each held-out item among 100 others."""

_LEAVE_ONE_OUT = ("valid_and_test", "valid_only", "test_only")

_NESTED_KEYS = {
    "eval_args": {"split", "group_by", "order", "mode"},
    "train_neg_sample_args": {"distribution", "sample_num", "alpha", "dynamic", "candidate_num"},
}


class YamlLoader(yaml.SafeLoader):
    """Reads 1e-3 as a number, as RecBole does; plain YAML 1.1 requires a dot and reads a string."""


YamlLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d[\d_]*)(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


@cache
def metric_names() -> Mapping[str, bool]:
    """RecBole's metrics by the names of their classes, and whether each judges single scores, not lists of length k."""
    text = (recbole_folder() / "evaluator" / "metrics.py").read_text(encoding="utf-8")
    classes: list[tuple[str, str]] = re.findall(r"^class (\w+)\((\w+)\)", text, flags=re.MULTILINE)
    return {name: base == "LossMetric" or name == "GAUC" for name, base in sorted(classes)}


@cache
def _recbole_keys() -> frozenset[str]:
    """The keys of every ranker: those of RecBole's command line, and those in its files of defaults."""
    # Run by itself, as importing it as a module imports all of RecBole.
    arguments = runpy.run_path(str(recbole_folder() / "utils" / "argument_list.py"))
    keys = {key for name in ("general", "training", "evaluation", "dataset") for key in arguments[f"{name}_arguments"]}
    return frozenset(keys.union(_keys_in("overall.yaml"), _keys_in("dataset/sample.yaml")))


def _keys_in(file: str) -> set[str]:
    """The keys of one of RecBole's files of defaults; none if there is no such file."""
    path = recbole_folder() / "properties" / file
    return set(yaml.load(path.read_text(encoding="utf-8"), Loader=YamlLoader) or {}) if path.is_file() else set()


def known_keys(model_name: str) -> set[str]:
    """All keys that RecBole or the ranker reads from a configuration of this ranker.

    Raises:
        ValueError: there is no such ranker.
    """
    check_name(model_name)
    own = own_defaults(model_name)
    return {"model", "dataset", *DEFAULTS, *own, *_recbole_keys(), *_keys_in(f"model/{model_name}.yaml")}


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
    check_split((config.get("eval_args") or {}).get("split", DEFAULTS["eval_args"]["split"]))
    _check_features(config)


def check_split(split: Any) -> None:
    """Raise ValueError unless it is one of the kinds of `eval_args.split`, with a value that this kind takes."""
    if not isinstance(split, Mapping) or len(split) != 1 or not set(split) <= _SPLITS:
        raise ValueError(
            f"eval_args.split is {split!r}, but must be one of RS: [0.8, 0.1, 0.1], LS: valid_and_test, "
            "TS: [0.8, 0.1, 0.1], LABEL: <the column that holds 0, 1 or 2>, COLD: <a share of the items>"
        )
    ((kind, value),) = split.items()
    if kind == "LS" and value not in _LEAVE_ONE_OUT:
        raise ValueError(f"eval_args.split.LS is {value!r}, but must be one of {', '.join(_LEAVE_ONE_OUT)}")
    if kind == "COLD" and (isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1):
        raise ValueError(f"eval_args.split.COLD is {value!r}, but must be a share of the items, between 0 and 1")
    if kind in ("RS", "TS") and not _are_shares(value):
        raise ValueError(f"eval_args.split.{kind} is {value!r}, but must be three shares such as [0.8, 0.1, 0.1]")


def _are_shares(value: Any) -> bool:
    """Whether these are the shares of training, validation and test: numbers from 0 on, the first of them positive."""
    if not isinstance(value, (list, tuple)) or len(value) != 3:
        return False
    numbers = [share for share in value if isinstance(share, (int, float)) and not isinstance(share, bool)]
    return len(numbers) == 3 and min(numbers) >= 0 and numbers[0] > 0


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
