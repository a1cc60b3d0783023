import pytest

from recsys.recbole.config import Config
from recsys.recbole.keys import known_keys, with_ranker
from worlds import Checkerboard


@pytest.mark.parametrize("split", [{"LSS": 1}, {}, {"RS": [0.8, 0.2], "COLD": 0.1}, "RS", None])
def test_an_unknown_split_names_the_valid_ones(world: Checkerboard, split: object) -> None:
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
def test_invalid_features_and_missing_features(world: Checkerboard, change: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Config({**world.config, "model": "MICRO", **change})


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


def test_the_same_configuration_for_another_ranker() -> None:
    actual = with_ranker({"model": "MICRO", "knn_k": 3, "features": {}, "seed": 1, "embedding_size": 8}, "BPR")
    assert actual == {"model": "BPR", "features": {}, "seed": 1, "embedding_size": 8}


def test_defaults_of_the_ranker_reach_the_configuration(world: Checkerboard) -> None:
    config = Config({**world.config, "model": "MICRO", "features": {"image": "x"}})
    assert (config["lambda_coeff"], config["knn_k"], config["embedding_size"]) == (0.9, 10, 16)
    assert Config({**world.config, "model": "BPR", "embedding_size": 5})["embedding_size"] == 5
    assert config.plain()["eval_args"]["order"] == "TO"  # kept although the world sets only `split`


def test_strings_are_not_evaluated(world: Checkerboard) -> None:
    assert Config({**world.config, "checkpoint_dir": "1 + 1"})["checkpoint_dir"] == "1 + 1"
