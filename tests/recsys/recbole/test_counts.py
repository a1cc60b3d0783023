"""What was prepared is what the ranker has, or it is not trained."""

import json
from pathlib import Path
from unittest import mock

import pandas as pd
import pytest

from recsys.catalog import Catalog, Item
from recsys.data.atomic import write_dataset
from recsys.recbole import atomic_files
from recsys.recbole.dataset import Dataset

ITEMS = ("a", "b", "c", "d", "null", "nobody's")
CLICKS = [(user, item, time) for user in ("u", "v", "NA") for time, item in enumerate(("a", "b", "c", "d", "null"))]


@pytest.fixture
def config(tmp_path: Path) -> dict:
    frame = pd.DataFrame(CLICKS, columns=pd.Index(["user_id", "item_id", "timestamp"])).assign(rating=1.0)
    write_dataset(frame, Catalog(map(Item, ITEMS)), tmp_path, "toy")
    return {"data_path": str(tmp_path), "dataset": "toy", "use_gpu": False}


def test_nothing_is_lost(config: dict) -> None:
    dataset = Dataset.load(config)
    assert (dataset.n_users - 1, dataset.n_items - 1) == (3, 6)
    assert sum(len(users) for users, _ in vars(dataset.interactions).values()) == 15


def test_pandas_own_reading_would_be_noticed(config: dict) -> None:
    """It takes NA and null for missing: user NA has 5 interactions, and item null one of each of the three users."""
    words = (
        r"toy was prepared with 3 users, 6 items, 15 interactions, but after RecBole read the files there are 2 users, "
        r"5 items, 15 interactions \(lost: user 'NA', item 'null'\)"
    )
    with (
        mock.patch.object(atomic_files, "_read_csv_with_text", atomic_files._read_csv),
        pytest.raises(ValueError, match=words),
    ):
        Dataset.load(config)


def test_files_that_were_changed_after_they_were_prepared(config: dict, tmp_path: Path) -> None:
    file = tmp_path / "toy/toy.inter"
    whole = file.read_text()
    file.write_text("\n".join(whole.splitlines()[:-1]) + "\n")
    with pytest.raises(ValueError, match=r"with 3 users, 6 items, 15 interactions, but .* 3 users, 6 items, 14 inter"):
        Dataset.load(config)
    file.write_text(whole)
    items = tmp_path / "toy/toy.item"
    items.write_text(items.read_text().replace("d\n", ""))
    with pytest.raises(ValueError, match="3 users, 5 items, 15 interactions"):
        Dataset.load(config)


def test_an_item_that_recbole_filters_silently(config: dict, tmp_path: Path) -> None:
    """Renamed in the file of items: RecBole drops the three interactions with d, and says nothing."""
    items = tmp_path / "toy/toy.item"
    items.write_text(items.read_text().replace("d\n", "e\n"))
    words = "after RecBole filtered there are 3 users, 6 items, 12 interactions"
    with pytest.raises(ValueError, match=words):
        Dataset.load(config)


@pytest.mark.parametrize(
    "asked",
    [
        {"item_inter_num_interval": "[1,inf)"},
        {"user_inter_num_interval": "[1,inf)"},
        {"val_interval": {"timestamp": "[1,inf)"}},
    ],
)
def test_a_filter_that_was_asked_for_may_leave_out(config: dict, asked: dict) -> None:
    dataset = Dataset.load(config | asked)
    assert dataset.n_users - 1 == 3


def test_a_configuration_without_the_file_of_items(config: dict) -> None:
    """The item that nobody clicked is then none of RecBole's."""
    columns = {"inter": ["user_id", "item_id", "rating", "timestamp"]}
    assert Dataset.load(config | {"load_col": columns}).n_items - 1 == 5


def test_a_damaged_summary_is_named(config: dict, tmp_path: Path) -> None:
    (tmp_path / "toy/summary.json").write_text(json.dumps({"users": 3}))
    with pytest.raises(ValueError, match=r"summary\.json holds no counts of a prepared data set"):
        Dataset.load(config)
