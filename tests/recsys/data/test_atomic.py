import json
import logging
import re

import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from recsys.catalog import Catalog, Item, id_problem
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
        (
            [("a", "7", 1), ("a", "gone", 2)],
            r"1 of 2 interactions have an item that is not in the catalogue of 5 items: 'gone' \(interaction 2\); "
            "add these items, or drop the interactions by catalog.unknown_items: drop",
        ),
        ([("a", "7", 1), ("[PAD]", "7", 2)], r"interaction 2 has the user_id '\[PAD\]', which is reserved"),
        ([("a", " [PAD] ", 1)], r"interaction 1 has the item_id '\[PAD\]', which is reserved"),
        ([("a", "7", 1), (" ", "7", 2)], "interaction 2 has no user_id: every interaction needs one"),
        ([("a", "", 1)], "interaction 1 has no item_id"),
        ([("a\nb", "7", 1)], r"has the user_id 'a\\nb', which holds a control character"),
        ([("a", "7", 1), ("b", "7", 2)], "nobody is left: all 2 people have fewer than 3 interactions"),
        ([], "nobody is left: all 0 people"),
        ([("a", "7", float("inf"))], "interaction 1 has timestamp 'inf', which is no number"),
    ],
)
def test_what_cannot_be_used_is_said_and_nothing_is_written(tmp_path, rows, words):
    with pytest.raises(ValueError, match=words):
        write_dataset(interactions(*rows), ITEMS, tmp_path, "toy")
    assert not list(tmp_path.iterdir())


WORDS = ["NA", "N/A", "n/a", "nan", "NaN", "NULL", "null", "None", "<NA>", "#N/A", "inf", "007", "1.0", "True", "-"]


def test_every_word_is_an_id_from_the_table_to_the_ranker(tmp_path):
    """Five users whose names are words for nothing, and items likewise: RecBole numbers all of them."""
    catalog = Catalog(Item(word) for word in WORDS)
    clicks = [(user, item, time) for user in WORDS for time, item in enumerate(WORDS[:4])]
    summary = write_dataset(interactions(*clicks), catalog, tmp_path, "toy")
    assert (summary.users, summary.items, summary.interactions) == (len(WORDS), len(WORDS), 4 * len(WORDS))
    dataset = Dataset.load({"data_path": str(tmp_path), "dataset": "toy", "use_gpu": False})
    assert sorted(dataset.user_tokens) == sorted(dataset.item_tokens) == sorted(["[PAD]", *WORDS])
    assert sum(len(users) for users, _ in vars(dataset.interactions).values()) == 4 * len(WORDS)


@settings(max_examples=25, deadline=None)
@given(st.sets(st.text(min_size=1, max_size=6), min_size=3, max_size=6))
def test_any_text_is_an_id_or_is_refused(tmp_path_factory, names):
    """Whatever is not refused by name arrives at the ranker; blanks around it do not count."""
    folder = tmp_path_factory.mktemp("ids")
    names = {name.encode("utf-8", "ignore").decode().strip() for name in names}
    assume(len(names) >= 3)
    usable = [name for name in sorted(names) if name and id_problem(name) is None]
    clicks = interactions(*((user, item, time) for user in names for time, item in enumerate(sorted(names))))
    if len(usable) < len(names):
        with pytest.raises(ValueError, match=r"reserved|no (user|item)_id|control character|no item_id"):
            write_dataset(clicks, Catalog(map(Item, sorted(names))), folder, "toy")
        return
    write_dataset(clicks, Catalog(map(Item, sorted(names))), folder, "toy")
    dataset = Dataset.load({"data_path": str(folder), "dataset": "toy", "use_gpu": False})
    assert sorted(dataset.user_tokens) == sorted(dataset.item_tokens) == sorted(["[PAD]", *names])


def test_blanks_around_ids_do_not_count(tmp_path):
    frame = interactions(("a", " 7", 1), (" a", "300 ", 2), ("a\u00a0", "12", 3))
    summary = write_dataset(frame, ITEMS, tmp_path, "toy")
    assert (summary.users, summary.interactions) == (1, 3)
    assert written(tmp_path)["item_id:token"].tolist() == ["7", "300", "12"]


def test_unknown_items_are_counted_and_the_first_five_named_with_their_lines(tmp_path, caplog):
    """Of 10 interactions 6 are with items of no catalogue, on lines 3 to 8; without them b has one and is left out."""
    file = tmp_path / "clicks.csv"
    unknown = [f"a,g{n},{n}\n" for n in range(3)] + [f"b,h{n},{n}\n" for n in range(3)]
    known = ["a,300,10\n", "a,12,11\n", "b,7,12\n"]
    file.write_text("user_id,item_id,timestamp\n" + "".join(["a,7,0\n", *unknown, *known]))
    frame = read_csv(file, ["user_id", "item_id", "timestamp"]).assign(rating=1.0)
    words = (
        rf"6 of 10 interactions in {file} have an item that is not in the catalogue of 5 items: 'g0' \(line 3\), 'g1' "
        r"\(line 4\), 'g2' \(line 5\), 'h0' \(line 6\), 'h1' \(line 7\), \.\.\."
    )
    with pytest.raises(ValueError, match=words):
        write_dataset(frame, ITEMS, tmp_path, "toy", source=file)
    with caplog.at_level(logging.WARNING, logger="recsys"):
        summary = write_dataset(frame, ITEMS, tmp_path, "toy", source=file, unknown_items="drop")
    assert re.search(words, caplog.text)
    assert summary.interactions_with_unknown_items_dropped == 6
    assert (summary.users, summary.users_dropped, summary.interactions) == (1, 1, 3)
    assert written(tmp_path)["item_id:token"].tolist() == ["7", "300", "12"]


def test_lines_are_named_in_every_sentence(tmp_path):
    file = tmp_path / "clicks.csv"
    file.write_text("user_id,item_id,timestamp\n\na,7,1\n,7,2\n")
    frame = read_csv(file, ["user_id", "item_id", "timestamp"]).assign(rating=1.0)
    with pytest.raises(ValueError, match=rf"{file}, line 4 has no user_id"):
        write_dataset(frame, ITEMS, tmp_path, "toy", source=file)
    frame = frame.assign(user_id="a", timestamp=["1", "noon"])
    with pytest.raises(ValueError, match=rf"{file}, line 4 has timestamp 'noon', which is no number"):
        write_dataset(frame, ITEMS, tmp_path, "toy", source=file)


def test_image_problems_stand_beside_the_counts(tmp_path):
    catalog = Catalog(ITEMS, {"7": "there is no file 7.png"})
    write_dataset(interactions(("a", "300", 1), ("a", "7", 2), ("a", "x", 3)), catalog, tmp_path, "toy")
    assert json.loads((tmp_path / "toy" / "image_problems.json").read_text()) == {"7": "there is no file 7.png"}


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
    with pytest.raises(ValueError, match=r"ratings\.csv has no column userId; its columns are none"):
        read_csv(file, ["userId"])
    file.write_bytes(b"userId\n\xff\xfe\n")
    with pytest.raises(ValueError, match=r"ratings\.csv, line 2 is not UTF-8"):
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
