"""The experiment on the backbone alone as its reader starts it."""

import json
from pathlib import Path

import pytest

from experiments import edits


def test_what_is_printed_was_written(shared: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    arguments, output = shared
    assert edits.main([*arguments, "--n=5", "--draw_seed=1"]) == 0
    found = json.loads((output / "edits.json").read_text())
    assert found["pictures"] == 5
    printed = capsys.readouterr().out
    assert printed.startswith(f"5 pictures of 32 x 32 px: the own condition gives back {found['psnr']:.1f} dB")
    assert edits.main([*arguments, "--n=1"]) == 2
    assert "edits: n 1: another's condition needs at least 2 pictures" in capsys.readouterr().err
