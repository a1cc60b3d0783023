import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from recsys.recbole import Config, Dataset, known_keys, parse_overrides, ranker_class, with_ranker
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
    assert ranker_class("LightGCN").__module__ == "recsys.lightgcn"
    assert ranker_class("MICRO").__module__ == "recsys.micro"
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


def test_overrides() -> None:
    found = parse_overrides(["--learning_rate=1e-3", "--topk=[5, 10]", "--use_gpu=false", "--dataset=a=b", "--seed=7"])
    assert found == {"learning_rate": 0.001, "topk": [5, 10], "use_gpu": False, "dataset": "a=b", "seed": 7}
    for wrong in ("learning_rate=1", "--learning_rate", "--=3"):
        with pytest.raises(ValueError, match="write --key=value"):
            parse_overrides([wrong])
    with pytest.raises(ValueError, match="--seed is given twice, as 1 and as 2"):
        parse_overrides(["--seed=1", "--seed=2"])


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
