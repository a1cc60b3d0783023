"""RecBole's configuration of one ranker, made of a mapping alone."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from recsys import distributed
from recsys.recbole.isolation import isolated
from recsys.recbole.keys import DEFAULTS, YamlLoader, check_keys, known_keys
from recsys.recbole.registry import code_of, ranker_class

with isolated():
    import recbole.config.configurator


class Config(recbole.config.configurator.Config):
    """RecBole's configuration of one ranker, read from a mapping only: no files, no argv, no evaluated strings.

    Values come from, in ascending priority: RecBole's defaults, `keys.DEFAULTS`, the ranker's `DEFAULTS`,
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
        return YamlLoader

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
