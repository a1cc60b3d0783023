"""RecBole's data set read from atomic files, with exact chronological order and with splits that RecBole lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from recsys.recbole.isolation import isolated
from recsys.recbole.splits import Parts, by_label, cold_start

with isolated():
    import recbole.data.dataset
    import recbole.utils


class AtomicFileDataset(recbole.data.dataset.Dataset):
    """RecBole's data set in chronological order, exact to the second, with ties broken by a seeded shuffle."""

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
            self._split_by_label(self.inter_feat[label].to_numpy(), str(file))  # checks the labels of the whole file

    @staticmethod
    def _split_by_label(labels: np.ndarray, source: str) -> Parts:
        try:
            return by_label(labels)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error

    def build(self) -> list[Any]:
        """The training, validation and test sets: RecBole's splits, `LABEL` by a column, or `COLD` by items."""
        ((kind, value),) = self.config["eval_args"]["split"].items()
        if kind not in ("LABEL", "COLD"):
            return super().build()
        # What RecBole's `build` does before and after its own split: columns become tensors, unused ones are dropped.
        self._change_feat_format()
        if kind == "LABEL":
            parts = self._split_by_label(self.inter_feat[value].numpy(), f"{self.dataset_path} after filtering")
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
        # The exact order has a column of its own, by which `sort` sorts in place of the rounded time stamps.
        self.inter_feat["order"] = np.arange(len(self.inter_feat))
        self.set_field_property("order", token, interaction, 1)

    def sort(self, by: Any, ascending: Any = True) -> None:
        """Sort as RecBole does, except that sorting by time uses the exact order."""
        super().sort("order" if by == self.time_field else by, ascending)
