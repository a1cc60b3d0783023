import json

import pandas as pd
import pytest

from recsys.catalog import Catalog, Item
from recsys.data.atomic import Summary, data_folder, read_csv, write_dataset
from recsys.recbole.dataset import Dataset

ITEMS = Catalog(Item(name, f"Title {name}") for name in ("7", "300", "12", "x", "nobody's"))


def interactions(*rows: tuple[str, str, float]) -> pd.DataFrame:
    """(user, item, timestamp), as text, the way a CSV file gives it."""
    columns = ("user_id", "item_id", "timestamp")
    return pd.DataFrame([(u, i, str(t)) for u, i, t in rows], columns=pd.Index(columns)).assign(rating="4.5")


def written(folder) -> pd.DataFrame:
    return pd.read_csv(folder / "toy" / "toy.inter", sep="\t", dtype={"user_id:token": str, "item_id:token": str})


def test_duplicates_keep_the_latest_and_people_below_three_are_left_out(tmp_path):
    """a rates 7 twice: 300, 12, 7 remain. b has two, and three only with a duplicate: b is left out."""
    frame = interactions(
        ("a", "7", 1),
        ("a", "300", 2),
        ("a", "12", 3),
        ("a", "7", 9),
        ("b", "7", 1),
        ("b", "300", 2),
        ("b", "7", 3),
        ("55", "x", 3),
        ("55", "7", 2),
        ("55", "12", 1),
    )
    summary = write_dataset(frame, ITEMS, tmp_path, "toy")
    assert summary == Summary(
        users=2,
        items=5,
        interactions=6,
        duplicates_dropped=2,
        users_dropped=1,
        items_without_image=5,
        items_without_text=0,
    )
    assert json.loads((tmp_path / "toy" / "summary.json").read_text()) == vars(summary)
    table = written(tmp_path)
    assert list(table.columns) == [
        "user_id:token",
        "item_id:token",
        "rating:float",
        "timestamp:float",
        "position:float",
    ]
    assert table.iloc[:, [0, 1, 3, 4]].to_numpy().tolist() == [
        ["55", "12", 1, 0],
        ["55", "7", 2, 1],
        ["55", "x", 3, 2],
        ["a", "300", 2, 0],
        ["a", "12", 3, 1],
        ["a", "7", 9, 2],
    ]
    assert Catalog.read(tmp_path / "toy" / "catalog.csv").ids == ITEMS.ids


def test_ids_need_not_be_contiguous_and_recbole_reads_what_was_written(tmp_path):
    frame = interactions(("a", "300", 1), ("a", "7", 2), ("a", "x", 3))
    write_dataset(frame, ITEMS, tmp_path, "toy")
    dataset = Dataset.load(
        {
            "data_path": str(tmp_path),
            "dataset": "toy",
            "use_gpu": False,
            "TIME_FIELD": "position",
            "load_col": {"inter": ["user_id", "item_id", "position"], "item": ["item_id"]},
        }
    )
    assert sorted(dataset.item_tokens) == sorted(["[PAD]", *ITEMS.ids])
    parts = dataset.interactions
    actual = [str(dataset.item_tokens[items[0]]) for _, items in (parts.train, parts.valid, parts.test)]
    assert actual == ["300", "7", "x"]


def test_equal_timestamps_are_shuffled_by_the_seed_and_stay_so(tmp_path):
    """Forty ratings in one second, as MovieLens has them: not in the file's order, which is that of the page."""
    catalog = Catalog(Item(str(n)) for n in range(40))
    frame = interactions(*(("a", str(n), 5) for n in range(40)))
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        write_dataset(frame, catalog, tmp_path / name, "toy", seed=seed)
    one, again, other = (written(tmp_path / name)["item_id:token"].tolist() for name in ("one", "again", "other"))
    assert one == again != other
    assert sorted(one) == sorted(other) == sorted(catalog.ids)
    assert one != catalog.ids


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("a", "7", 1), ("a", "gone", 2)], "1 items have interactions .* not in the catalogue, 'gone' among them"),
        ([("a", "7", 1), ("b", "7", 2)], "nobody is left: all 2 people have fewer than 3 interactions"),
        ([], "nobody is left: all 0 people"),
        ([("a", "7", float("inf"))], "interaction 1 has timestamp 'inf', which is no number"),
    ],
)
def test_what_cannot_be_used_is_said_and_nothing_is_written(tmp_path, rows, words):
    with pytest.raises(ValueError, match=words):
        write_dataset(interactions(*rows), ITEMS, tmp_path, "toy")
    assert not list(tmp_path.iterdir())


def test_a_number_that_is_none_names_its_row(tmp_path):
    frame = interactions(("a", "7", 1), ("a", "300", 2))
    frame["rating"] = ["4", "good"]
    with pytest.raises(ValueError, match="interaction 2 has rating 'good', which is no number"):
        write_dataset(frame, ITEMS, tmp_path, "toy")


def test_a_missing_column_names_file_column_and_what_was_found(tmp_path):
    file = tmp_path / "ratings.csv"
    file.write_text("userId,movieId,stars\n1,2,3\n")
    with pytest.raises(ValueError, match=r"ratings\.csv has no column rating; its columns are userId, movieId, stars"):
        read_csv(file, ["userId", "rating"])
    assert read_csv(file, ["stars", "userId"]).to_numpy().tolist() == [["3", "1"]]
    file.write_text("")
    with pytest.raises(ValueError, match=r"ratings\.csv cannot be read as CSV"):
        read_csv(file, ["userId"])
    file.write_bytes(b"userId\n\xff\xfe\n")
    with pytest.raises(ValueError, match=r"ratings\.csv cannot be read as CSV"):
        read_csv(file, ["userId"])
    with pytest.raises(FileNotFoundError, match=f"no gone.csv in {tmp_path}"):
        read_csv(tmp_path / "gone.csv", ["userId"])


def test_the_folder_is_named_when_it_is_missing_empty_or_lacks_a_file(tmp_path):
    files = ("ratings.csv", "movies.csv")
    with pytest.raises(FileNotFoundError, match=r"name the folder with ratings\.csv and movies\.csv by --data"):
        data_folder(None, files)
    with pytest.raises(FileNotFoundError, match=f"no data folder at {tmp_path / 'gone'}"):
        data_folder(tmp_path / "gone", files)
    with pytest.raises(FileNotFoundError, match=f"the data folder {tmp_path} is empty; it must hold ratings.csv"):
        data_folder(tmp_path, files)
    (tmp_path / "ratings.csv").write_text("userId\n")
    with pytest.raises(FileNotFoundError, match=f"no movies.csv in {tmp_path}"):
        data_folder(tmp_path, files)
    (tmp_path / "movies.csv").write_text("movieId\n")
    assert data_folder(tmp_path, files) == tmp_path
