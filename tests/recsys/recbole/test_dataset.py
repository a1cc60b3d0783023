import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from recsys.features import FeatureTable
from recsys.recbole.config import Config, known_keys, with_ranker
from recsys.recbole.dataset import Dataset
from recsys.recbole.registry import ranker_class
from worlds import Checkerboard

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


def test_a_given_split_by_hand(tmp_path: Path) -> None:
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
def test_a_given_split_that_is_none(tmp_path: Path, labels: list, kind: str, words: str) -> None:
    config = _write(tmp_path, CLICKS)
    _label(tmp_path, labels, kind)
    with pytest.raises(ValueError, match=words):
        config |= {"eval_args": {"split": {"LABEL": "x_label"}}, "user_inter_num_interval": "[2,inf)"}
        Dataset.load(config)


def test_a_given_split_without_its_column(tmp_path: Path) -> None:
    config = _write(tmp_path, CLICKS)
    with pytest.raises(ValueError, match="has no column 'part'; it has user_id, item_id, rating, timestamp"):
        Dataset.load({**config, "eval_args": {"split": {"LABEL": "part"}}})


def test_a_cold_start_split_withholds_items_from_training(world: Checkerboard) -> None:
    """100 items have interactions: 20 are withheld, 10 for each part, and each of their 720 clicks is somewhere."""
    config = {**world.config, "eval_args": {"split": {"COLD": 0.2}}}
    dataset = Dataset.load(config)
    train, valid, test = (getattr(dataset.interactions, part) for part in ("train", "valid", "test"))
    assert len(set(valid[1])) == len(set(test[1])) == 10
    assert not set(train[1]) & (set(valid[1]) | set(test[1])) and not set(valid[1]) & set(test[1])
    assert len(train[0]) + len(valid[0]) + len(test[0]) == 60 * 12
    assert Dataset.load({**config, "seed": 3}).digest() == dataset.digest()
    assert Dataset.load({**config, "split_seed": 3}).digest() != dataset.digest()


def test_cold_items_have_content_edges_and_no_clicks(micro_config: dict) -> None:
    dataset = Dataset.load({**micro_config, "eval_args": {"split": {"COLD": 0.2}}})
    ranker = dataset.new_ranker()
    cold = torch.from_numpy(np.unique(dataset.interactions.test[1]))
    row, column, weight = ranker.raw_graphs["image"].edges()
    others = torch.isin(row, cold) & (row != column) & (weight != 0)
    assert torch.equal(row[others].unique(), cold)
    interactions = ranker.interactions.matrix.to_dense()[dataset.n_users :, : dataset.n_users]
    assert interactions[cold].count_nonzero() == 0
    assert interactions.sum(1)[torch.from_numpy(np.unique(dataset.interactions.train[1]))].min() > 0


@pytest.mark.parametrize("split", [{"LSS": 1}, {}, {"RS": [0.8, 0.2], "COLD": 0.1}, "RS", None])
def test_an_unknown_split_names_those_there_are(world: Checkerboard, split: object) -> None:
    with pytest.raises(
        ValueError, match=r"eval_args\.split is .*, but must be one of RS: .*COLD: <a share of the items>"
    ):
        Config({**world.config, "eval_args": {"split": split}})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"features": {"image": None}}, "features names the modality 'image' but no file of it"),
        ({"features": "image.npy"}, "features is 'image.npy', but must map modalities to files"),
        ({"missing_features": "zero"}, "missing_features is 'zero', but must be one of hole, error"),
    ],
)
def test_features_that_are_none(world: Checkerboard, change: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Config({**world.config, "model": "MICRO", **change})


def test_a_missing_row_is_an_error_where_that_is_asked_for(micro_config: dict) -> None:
    """n1 has no image."""
    with pytest.raises(ValueError, match=r"1 of 102 items have no image features in .*: 'n1'; add their rows"):
        Dataset.load({**micro_config, "missing_features": "error"}).new_ranker()


def test_features_as_a_matrix_beside_its_tokens(micro_config: dict, world: Checkerboard, tmp_path: Path) -> None:
    table = FeatureTable.read(world.image)
    np.save(tmp_path / "image.npy", table.values[::-1])
    (tmp_path / "image.ids.txt").write_text("\n".join(table.ids[::-1]))
    ours, theirs = (
        Dataset.load({**micro_config, "features": {"image": str(file)}}).new_ranker().features("image")
        for file in (world.image, tmp_path / "image.npy")
    )
    assert torch.equal(ours, theirs)


def test_history_is_oldest_first_and_training_only(world: Checkerboard) -> None:
    dataset = Dataset.load(world.config)
    lines = Path(world.config["data_path"], "checkerboard/checkerboard.inter").read_text().splitlines()
    clicks = [line.split("\t")[1] for line in lines if line.startswith("u5\t")]
    assert [dataset.item_tokens[i] for i in dataset.history(dataset.user_id("u5"))] == clicks[:10]


@pytest.mark.parametrize(
    ("key", "hint"), [("lerning_rate", "learning_rate"), ("knnk", "knn_k"), ("eval_arg", "eval_args")]
)
def test_a_typo_is_an_error(world: Checkerboard, key: str, hint: str) -> None:
    with pytest.raises(ValueError, match=f"unknown key '{key}' for the ranker MICRO; did you mean '{hint}'"):
        Config({**world.config, "model": "MICRO", key: 1})


def test_a_typo_inside_a_setting_is_an_error(world: Checkerboard) -> None:
    with pytest.raises(ValueError, match=r"unknown key eval_args\.'oder'; did you mean 'order'"):
        Config({**world.config, "eval_args": {"oder": "TO"}})


def test_known_keys_differ_by_ranker() -> None:
    assert {"knn_k", "features", "learning_rate", "eval_args", "load_col", "n_ui_layers"} <= known_keys("MICRO")
    assert "knn_k" not in known_keys("LightGCN")
    assert {"k", "shrink"} <= known_keys("ItemKNN")


def test_the_same_experiment_under_another_ranker() -> None:
    found = with_ranker({"model": "MICRO", "knn_k": 3, "features": {}, "seed": 1, "embedding_size": 8}, "BPR")
    assert found == {"model": "BPR", "features": {}, "seed": 1, "embedding_size": 8}


def test_rankers_by_name() -> None:
    assert ranker_class("LightGCN").__module__ == "recsys.rankers.lightgcn"
    assert ranker_class("MICRO").__module__ == "recsys.rankers.micro"
    assert ranker_class("BPR").__module__.startswith("recbole.")
    with pytest.raises(ValueError, match="no ranker 'LigtGCN'; did you mean 'LightGCN'"):
        ranker_class("LigtGCN")


def test_defaults_of_the_ranker_reach_the_configuration(world: Checkerboard) -> None:
    config = Config({**world.config, "model": "MICRO", "features": {"image": "x"}})
    assert (config["lambda_coeff"], config["knn_k"], config["embedding_size"]) == (0.9, 10, 16)
    assert Config({**world.config, "model": "BPR", "embedding_size": 5})["embedding_size"] == 5
    assert config.plain()["eval_args"]["order"] == "TO"  # kept although the world sets only `split`


def test_a_data_set_called_like_recboles_own_is_read_from_the_given_path(tmp_path: Path) -> None:
    """RecBole would read its own copy of anything called ml-100k, with its own columns and filters."""
    _write(tmp_path, CLICKS)
    (tmp_path / "tiny").rename(tmp_path / "ml-100k")
    (tmp_path / "ml-100k/tiny.inter").rename(tmp_path / "ml-100k/ml-100k.inter")
    assert Dataset.load({"data_path": str(tmp_path), "dataset": "ml-100k"}).n_users == 4


def test_nothing_global_changes(
    world: Checkerboard, empty_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "argv", ["prog", "--embedding_size=3", "positional"])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    numpy, state = str(np.random.get_state(legacy=False)), torch.get_rng_state()  # noqa: NPY002
    config = {**world.config, "checkpoint_dir": "saved"}
    before = str(config)
    with caplog.at_level(logging.WARNING):
        dataset = Dataset.load(config)
        dataset.new_ranker()
    assert dataset.config["embedding_size"] == 16
    assert str(config) == before
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    assert str(np.random.get_state(legacy=False)) == numpy  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), state)
    assert "float" not in vars(np)
    assert not caplog.records
    assert not list(empty_folder.iterdir())


def test_strings_are_not_evaluated(world: Checkerboard) -> None:
    assert Config({**world.config, "checkpoint_dir": "1 + 1"})["checkpoint_dir"] == "1 + 1"


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
