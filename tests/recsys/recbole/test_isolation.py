import importlib
import logging
import os
import random
import sys

import numpy as np
import pytest
import torch

from recsys.recbole.isolation import isolated, one_thread, seed_everything


def _numpy_state() -> str:
    return str(np.random.get_state(legacy=False))  # noqa: NPY002


def test_global_state_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["prog", "--seed=1"])
    before = (_numpy_state(), torch.get_rng_state(), random.getstate())
    with isolated(seed=3):
        assert sys.argv == ["prog"]
        sys.argv.append("left over")
        os.environ["CUDA_VISIBLE_DEVICES"] = "7"
        assert vars(np)["float"] is np.float64
        np.random.rand()  # noqa: NPY002
        torch.rand(1)
        random.random()
        logging.getLogger().setLevel(logging.DEBUG)
        logging.getLogger().addHandler(logging.NullHandler())
        level_inside = logging.getLogger().level
    assert level_inside == logging.DEBUG != logging.getLogger().level
    assert sys.argv == ["prog", "--seed=1"]
    assert os.environ.get("CUDA_VISIBLE_DEVICES") != "7"
    assert "float" not in vars(np)
    assert _numpy_state() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    assert random.getstate() == before[2]


def test_global_state_is_restored_after_an_error() -> None:
    with pytest.raises(RuntimeError), isolated():
        raise RuntimeError
    assert "float" not in vars(np)


def test_the_seed_decides_what_is_drawn_inside() -> None:
    def draw() -> tuple[float, float]:
        with isolated(seed=5):
            return float(np.random.rand()), float(torch.rand(1))  # noqa: NPY002

    first = draw()
    np.random.rand()  # noqa: NPY002
    assert draw() == first
    with isolated():
        seed_everything(5)
        assert float(np.random.rand()) == first[0]  # noqa: NPY002


@pytest.mark.parametrize(("name", "kind"), [("float", "f"), ("float_", "f"), ("complex_", "c"), ("unicode_", "U")])
def test_numpy_names_of_other_versions_exist_inside_only(monkeypatch: pytest.MonkeyPatch, name: str, kind: str) -> None:
    """NumPy 1.24 removed `float`, NumPy 2.0 the others: where this version has the name, it is taken away first."""
    monkeypatch.delattr(np, name, raising=False)
    with isolated():
        assert np.dtype(getattr(np, name)).kind == kind
    assert name not in vars(np)


def test_recboles_own_settings_leave_no_numpy_name_behind() -> None:
    """RecBole sets np.int and np.str, among others, for the whole process; `float_` is one of the names it reads."""
    with isolated():
        config = importlib.import_module("recbole.config.configurator").Config
        before = dict(vars(np))
        config.compatibility_settings(object())
        assert vars(np)["float"] is np.float64
        assert vars(np).keys() == before.keys()
    assert not {"int", "float", "complex", "object", "str", "unicode"} & vars(np).keys()


def test_root_logging_is_redirected(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), isolated():
        logging.getLogger().warning("careful")
        logging.getLogger().info("chatter")
    assert [(r.name, r.getMessage()) for r in caplog.records] == [("recsys.recbole", "careful")]


def test_one_thread_inside_and_as_many_as_before_outside() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with pytest.raises(KeyError), one_thread():
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
