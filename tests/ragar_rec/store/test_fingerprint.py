"""Fingerprints of objects: equal for equal class, code and state; other for any of these that differs."""

import importlib
import linecache
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ragar_rec.store.fingerprint import fingerprint

MODULE = """
import torch
from torch import nn
class Net(nn.Module):
    name = "net"
    def __init__(self, width, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.layer, self.words = nn.Linear(width, 2), {"b": [width], "a": "text"}
        self.register_buffer("shift", torch.zeros(2), persistent=False)
        self.register_buffer("scale", torch.ones(2), persistent=False)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "nets.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "nets", raising=False)
    return importlib.import_module("nets")


def test_state_and_class_count(module: Any) -> None:
    nets = [module.Net(3, 0), module.Net(3, 1), module.Net(4, 0), module.Net(3, 0).train(False)]
    nets[0].words["c"] = 1  # an attribute that no state_dict holds
    assert len({fingerprint(net) for net in [*nets, module.Net(3, 0)]}) == 5
    assert fingerprint(module.Net(3, 0)) == fingerprint(module.Net(3, 0))
    with torch.no_grad():
        changed = module.Net(3, 0)
        changed.layer.bias[1] += 1e-7
    assert fingerprint(changed) != fingerprint(module.Net(3, 0))


def test_another_process_gives_the_same(module: Any, tmp_path: Path) -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import nets; from ragar_rec.store.fingerprint import *; "
    command = [sys.executable, "-c", code + "print(fingerprint(nets.Net(3, 0)))", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"}, cwd=".")
    assert done.stdout.strip() == fingerprint(module.Net(3, 0))


def test_edited_code_is_another_object(module: Any, tmp_path: Path) -> None:
    before = fingerprint(module.Net(3, 0))
    (tmp_path / "nets.py").write_text(MODULE + "# edited\n")
    assert fingerprint(module.Net(3, 0)) != before


def test_functions_count_by_what_they_do_and_hold() -> None:
    def times(factor: int) -> Any:
        return lambda x: x * factor

    assert fingerprint(times(2)) == fingerprint(times(2)) != fingerprint(times(3))
    assert len({fingerprint(f) for f in (lambda x: x, lambda x: -x)}) == 2


def test_what_cannot_be_hashed_is_one_sentence(tmp_path: Path) -> None:
    net = nn.Linear(1, 1)
    with (tmp_path / "open").open("w") as file:
        net.file = file  # type: ignore[assignment]
        with pytest.raises(ValueError, match=r"a Linear cannot be hashed \(.*TextIOWrapper.*name it in the config as"):
            fingerprint(net)
    net.file = [net]  # type: ignore[assignment]
    with pytest.raises(ValueError, match="a Linear cannot be hashed"):
        fingerprint(net)


CELL = """
class Tint:
    name, dim, strength = "tint", 3, {strength}
    def encode_images(self, images):
        return self.shifted(images.mean((2, 3)))
    @staticmethod
    def shifted(values):
        return values + {shift}
"""


def test_a_class_of_a_notebook_counts_by_its_methods_and_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook's cells are in no file; Python keeps their lines, by which methods are told apart."""
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    prints = []
    for cell, (strength, shift) in enumerate([(1, 1), (2, 1), (1, 2), (1, 1)]):
        text, name = CELL.format(strength=strength, shift=shift), f"<cell {cell}>"
        linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
        space: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(text, name, "exec"), space)
        prints.append(fingerprint(space["Tint"]()))
    assert prints[0] == prints[3]
    assert len(set(prints)) == 3
