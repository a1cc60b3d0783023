"""Parts of one's own by name: where their code stands."""

import importlib
import sys
from pathlib import Path

import pytest

from generation.plugins import code_of


def test_the_code_is_where_the_part_is_defined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package may hand on a class of one of its modules, whose edits count; a value has only its module's file."""
    package = tmp_path / "shelf"
    package.mkdir()
    (package / "__init__.py").write_text("from shelf.parts import Lamp\nLIGHT = 3\n")
    (package / "parts.py").write_text("class Lamp:\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("shelf", "shelf.parts"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.invalidate_caches()
    assert code_of("shelf:Lamp") == package / "parts.py"
    assert code_of("shelf:LIGHT") == package / "__init__.py"
