"""RecBole's data set read from atomic files, with exact chronological order and with splits that RecBole lacks."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

from recsys.catalog import id_problem
from recsys.recbole.counts import Counts
from recsys.recbole.isolation import isolated
from recsys.recbole.splits import Parts, by_label, cold_start

with isolated():
    import recbole.data.dataset
    import recbole.utils

# What counts as a missing value in a column of numbers; in a column of text nothing does.
_NO_NUMBER = ["", "nan", "NaN", "NAN", "NA", "N/A", "n/a", "null", "NULL", "None"]

# RecBole's filters that a configuration can ask for, with the values that keep everything.
_FILTERS = {"user_inter_num_interval": "[0,inf)", "item_inter_num_interval": "[0,inf)", "val_interval": None}

_read_csv: Any = pd.read_csv


def _read_csv_with_text(path: Any, *, dtype: Mapping[str, type], **options: Any) -> pd.DataFrame:
    """Read a CSV file by pandas, which by itself takes a token such as ``NA`` for a missing value; here it is text."""
    missing = {field: _NO_NUMBER for field, kind in dtype.items() if kind is not str}
    options |= {"keep_default_na": False, "na_values": missing}
    return _read_csv(path, dtype=dict(dtype), **options)


def _check_fields(file: Path, delimiter: str, encoding: str) -> None:
    """Refuse a row with more fields than the heading: pandas, as RecBole calls it, may shift all ids by a column."""
    if len(delimiter) != 1:  # A pattern, which the csv module does not know.
        return
    with file.open(encoding=encoding, newline="") as lines:
        rows = csv.reader(lines, delimiter=delimiter)
        heading = len(next(rows, []))
        for row in rows:
            if len(row) > heading:
                raise ValueError(f"{file}, line {rows.line_num} has {len(row)} fields, the heading has {heading}")


class AtomicFileDataset(recbole.data.dataset.Dataset):
    """RecBole's data set in chronological order, exact to the second, with ties broken by a seeded shuffle."""

    def _download(self) -> None:
        raise FileNotFoundError(f"there is no data folder {self.dataset_path}; prepare the data set first")

    def _load_data(self, token: str, dataset_path: str) -> None:
        file = Path(dataset_path) / f"{token}.inter"
        if Path(dataset_path).is_dir() and not file.is_file():
            raise FileNotFoundError(f"{dataset_path} holds no {file.name}; prepare the data set first")
        super()._load_data(token, dataset_path)
        self._check_ids(file)
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

        items = None if self.item_feat is None else self.item_feat[self.iid_field]
        self._check_counts(
            "read the files", self.inter_feat[self.uid_field].dropna(), None if items is None else items.dropna()
        )

    def _check_ids(self, file: Path) -> None:
        """Refuse ids that are empty, for which RecBole would drop the row, or reserved."""
        for table, field, suffix in (
            (self.inter_feat, self.uid_field, "inter"),
            (self.inter_feat, self.iid_field, "inter"),
            (self.user_feat, self.uid_field, "user"),
            (self.item_feat, self.iid_field, "item"),
        ):
            if table is None or field not in table:
                continue
            for token in table[field].dropna().unique():
                if problem := id_problem(token) if token else "which is no id: every row needs one":
                    line = int((table[field] == token).to_numpy().argmax()) + 2
                    raise ValueError(
                        f"{file.with_suffix('.' + suffix)}, line {line} has the {field} {token!r}, {problem}"
                    )

    def _check_counts(self, stage: str, users: Iterable[str], items: Iterable[str] | None) -> None:
        """Compare the users, items and interactions that there are with those that were prepared."""
        folder = Path(self.dataset_path)
        prepared = Counts.prepared(folder)
        if prepared is None:
            return
        user_set, item_set = set(users), set(() if items is None else items)
        found = Counts(len(user_set), None if items is None else len(item_set), len(self.inter_feat))
        prepared.check(found, folder, self.dataset_name, user_set, item_set, stage)

    def _load_feat(self, filepath: Any, source: Any) -> Any:
        _check_fields(Path(filepath), self.config["field_separator"], self.config["encoding"])
        # RecBole calls pandas.read_csv without saying what a missing value is.
        with mock.patch.object(pd, "read_csv", _read_csv_with_text):
            return super()._load_feat(filepath, source)

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
        if not any(self.config[key] not in (None, unset) for key, unset in _FILTERS.items()):
            users, items = (list(self.field2token_id[field])[1:] for field in (self.uid_field, self.iid_field))
            self._check_counts("filtered", users, None if self.item_feat is None else items)
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
