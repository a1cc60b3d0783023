import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from recsys.recbole.dataset import Dataset

CLICKS = [
    *[("u1", "a", 5), ("u1", "b", 3), ("u1", "a", 9)],
    *[("u2", "b", 1), ("u2", "c", 2), ("u2", "a", 4)],
    ("u3", "c", 1),
]


def _write(folder: Path, clicks: list[tuple], items: Sequence[str] = ()) -> dict:
    home = folder / "tiny"
    home.mkdir(parents=True, exist_ok=True)
    rows = ["user_id:token\titem_id:token\trating:float\ttimestamp:float", *(f"{u}\t{i}\t1\t{t}" for u, i, t in clicks)]
    (home / "tiny.inter").write_text("\n".join(rows) + "\n")
    if items:
        (home / "tiny.item").write_text("\n".join(["item_id:token", *items]) + "\n")
    return {"data_path": str(folder), "dataset": "tiny", "use_gpu": False}


def _tokens(dataset: Dataset, part: str) -> list[tuple[str, str]]:
    users, items = getattr(dataset.interactions, part)
    return [(str(dataset.user_tokens[u]), str(dataset.item_tokens[i])) for u, i in zip(users, items, strict=True)]


def test_split_in_time_by_hand(tmp_path: Path) -> None:
    """u1's second click on a is a duplicate. Of 2 clicks the later is test; of 3 one is valid, one test; of 1 none."""
    dataset = Dataset.load(_write(tmp_path, CLICKS, ["a", "b", "c", "nobody's"]))
    assert sorted(_tokens(dataset, "train")) == [("u1", "b"), ("u2", "b"), ("u3", "c")]
    assert _tokens(dataset, "valid") == [("u2", "c")]
    assert sorted(_tokens(dataset, "test")) == [("u1", "a"), ("u2", "a")]
    assert dataset.item_tokens[0] == dataset.user_tokens[0] == "[PAD]"
    assert (dataset.n_users, dataset.n_items) == (4, 5)
    assert dataset.item_tokens[dataset.item_id("nobody's")] == "nobody's"
    assert [dataset.item_tokens[i] for i in dataset.history(dataset.user_id("u2"))] == ["b"]
    with pytest.raises(KeyError):
        dataset.item_id("d")


def test_seconds_decide_although_float32_cannot_tell_them_apart(tmp_path: Path) -> None:
    """Time stamps one second apart at 1.2e9, where float32 steps are 128 wide."""
    items = [f"i{n}" for n in range(20)]
    clicks = [("u", item, 1_200_000_000 + n) for n, item in enumerate(items)]
    order = np.random.default_rng(0).permutation(20)
    dataset = Dataset.load(_write(tmp_path, [clicks[n] for n in order]))
    assert [item for _, item in _tokens(dataset, "train")] == items[:16]
    assert [item for _, item in _tokens(dataset, "test")] == items[18:]


def test_ties_in_time_are_broken_by_the_split_seed_alone(tmp_path: Path) -> None:
    config = _write(tmp_path, [("u", f"i{n}", 7) for n in range(20)])
    first = Dataset.load(config)
    assert Dataset.load({**config, "seed": 99}).digest() == first.digest()
    assert Dataset.load({**config, "split_seed": 1}).digest() != first.digest()


def test_leave_one_out_by_hand(tmp_path: Path) -> None:
    """The last click is test, the one before it validation: u1 has b, a (its duplicate is dropped), u2 b, c, a."""
    config = _write(tmp_path, CLICKS)
    dataset = Dataset.load({**config, "eval_args": {"split": {"LS": "valid_and_test"}}})
    assert sorted(_tokens(dataset, "train")) == [("u1", "b"), ("u2", "b"), ("u3", "c")]
    assert sorted(_tokens(dataset, "valid")) == [("u2", "c")]
    assert sorted(_tokens(dataset, "test")) == [("u1", "a"), ("u2", "a")]
    test_only = Dataset.load({**config, "eval_args": {"split": {"LS": "test_only"}}})
    assert sorted(_tokens(test_only, "train")) == [("u1", "b"), ("u2", "b"), ("u2", "c"), ("u3", "c")]
    assert sorted(_tokens(test_only, "valid")) == []


def _label(folder: Path, labels: Sequence[object], kind: str = "float") -> None:
    file = folder / "tiny/tiny.inter"
    rows = zip(file.read_text().splitlines(), [f"x_label:{kind}", *labels], strict=True)
    file.write_text("\n".join(f"{row}\t{label}" for row, label in rows) + "\n")


def test_a_predefined_split_by_hand(tmp_path: Path) -> None:
    """Against the order in time; of u1's clicks on a the first counts. A filter that drops u3 moves no label."""
    config = _write(tmp_path, CLICKS)
    _label(tmp_path, [2, 0, 2, 1, 0, 0, 0])
    config |= {"eval_args": {"split": {"LABEL": "x_label"}}}
    dataset = Dataset.load(config)
    assert sorted(_tokens(dataset, "train")) == [("u1", "b"), ("u2", "a"), ("u2", "c"), ("u3", "c")]
    assert sorted(_tokens(dataset, "valid")) == [("u2", "b")]
    assert sorted(_tokens(dataset, "test")) == [("u1", "a")]
    filtered = Dataset.load({**config, "user_inter_num_interval": "[2,inf)"})
    assert sorted(_tokens(filtered, "train")) == [("u1", "b"), ("u2", "a"), ("u2", "c")]


@pytest.mark.parametrize(
    ("labels", "kind", "words"),
    [
        ([0, 0, 0, 0, 5, 0, 0], "float", r"tiny\.inter: interaction 5 is labelled 5"),
        ([0, "", 0, 0, 0, 0, 0], "float", r"tiny\.inter: interaction 2 is labelled nan"),
        ([1] * 7, "float", r"tiny\.inter: none of the 7 interactions is labelled 0"),
        ([0] * 7, "token", r"tiny\.inter declares x_label as token, write x_label:float"),
        ([1, 1, 1, 1, 1, 1, 0], "float", "after filtering: none of the 5 interactions is labelled 0"),
    ],
)
def test_invalid_labels_of_a_predefined_split(tmp_path: Path, labels: list, kind: str, words: str) -> None:
    config = _write(tmp_path, CLICKS)
    _label(tmp_path, labels, kind)
    with pytest.raises(ValueError, match=words):
        config |= {"eval_args": {"split": {"LABEL": "x_label"}}, "user_inter_num_interval": "[2,inf)"}
        Dataset.load(config)


def test_a_predefined_split_without_its_column(tmp_path: Path) -> None:
    config = _write(tmp_path, CLICKS)
    with pytest.raises(ValueError, match="has no column 'part'; it has user_id, item_id, rating, timestamp"):
        Dataset.load({**config, "eval_args": {"split": {"LABEL": "part"}}})


def test_a_data_set_called_like_recboles_own_is_read_from_the_given_path(tmp_path: Path) -> None:
    """RecBole would read its own copy of anything called ml-100k, with its own columns and filters."""
    _write(tmp_path, CLICKS)
    (tmp_path / "tiny").rename(tmp_path / "ml-100k")
    (tmp_path / "ml-100k/tiny.inter").rename(tmp_path / "ml-100k/ml-100k.inter")
    assert Dataset.load({"data_path": str(tmp_path), "dataset": "ml-100k"}).n_users == 4


def test_missing_data(tmp_path: Path) -> None:
    config = {"data_path": str(tmp_path), "dataset": "absent"}
    with pytest.raises(FileNotFoundError, match="absent; prepare the data set first"):
        Dataset.load(config)
    (tmp_path / "absent").mkdir()
    with pytest.raises(FileNotFoundError, match=r"holds no absent\.inter"):
        Dataset.load(config)
    with pytest.raises(ValueError, match="lacks 'data_path'"):
        Dataset.load({"dataset": "absent"})


def test_missing_column(tmp_path: Path) -> None:
    config = _write(tmp_path, CLICKS)
    file = tmp_path / "tiny/tiny.inter"
    file.write_text("\n".join(line.rsplit("\t", 1)[0] for line in file.read_text().splitlines()) + "\n")
    with pytest.raises(ValueError, match="has no column 'timestamp'; it has user_id, item_id, rating"):
        Dataset.load(config)
    assert Dataset.load({**config, "eval_args": {"order": "RO"}, "rm_dup_inter": None}).n_users == 4


def test_everybody_filtered_away(tmp_path: Path) -> None:
    config = _write(tmp_path, CLICKS)
    with pytest.raises(ValueError, match="none of the 7 interactions"):
        Dataset.load({**config, "user_inter_num_interval": "[50,inf)"})


WORDS = ("NA", "nan", "None", "NULL", "n/a")


def test_words_for_nothing_are_tokens(tmp_path: Path) -> None:
    """Users, items and the file of items; a rating that is missing stays a missing number."""
    config = _write(tmp_path, [(word, other, n) for word in WORDS for n, other in enumerate(WORDS)], WORDS)
    file = tmp_path / "tiny/tiny.inter"
    file.write_text(file.read_text().replace("\tn/a\t1\t", "\tn/a\t\t"))
    dataset = Dataset.load(config)
    assert sorted(dataset.user_tokens) == sorted(dataset.item_tokens) == sorted(["[PAD]", *WORDS])
    assert sum(len(users) for users, _ in vars(dataset.interactions).values()) == 25


@pytest.mark.parametrize(
    ("user", "item", "words"),
    [
        ("", "a", "line 9 has the user_id '', which is no id"),
        ("u", "", "line 9 has the item_id '', which is no id"),
        ("[PAD]", "a", r"line 9 has the user_id '\[PAD\]', which is reserved"),
        ("u", "[PAD]", r"line 9 has the item_id '\[PAD\]', which is reserved"),
    ],
)
def test_ids_that_recbole_would_drop_or_take_for_padding(tmp_path: Path, user: str, item: str, words: str) -> None:
    config = _write(tmp_path, [*CLICKS, (user, item, 1)])
    with pytest.raises(ValueError, match=rf"tiny\.inter, {words}"):
        Dataset.load(config)


@pytest.mark.parametrize("row", [0, 2])
def test_a_row_with_a_field_too_many_shifts_no_ids(tmp_path: Path, row: int) -> None:
    """In the first row pandas would take the first column for an index, and every id for its neighbour's."""
    config = _write(tmp_path, CLICKS)
    file = tmp_path / "tiny" / "tiny.inter"
    lines = file.read_text().splitlines()
    lines[1 + row] += "\t7"
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=re.escape(f"{file}, line {2 + row} has 5 fields, the heading has 4")):
        Dataset.load(config)


def test_an_item_called_padding(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"tiny\.item, line 5 has the item_id '\[PAD\]', which is reserved"):
        Dataset.load(_write(tmp_path, CLICKS, ["a", "b", "c", "[PAD]"]))
