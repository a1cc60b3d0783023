"""The ablations as their reader starts them."""

import json
from pathlib import Path

import pytest

from experiments import figure2, rq3

KEYS = ("--reflection.warm_start_steps=2", "--reflection.reward_steps=2", "--reflection.held_out=0.2")


@pytest.mark.slow
def test_the_parts_of_a_tiny_world(shared: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    """RAGAR beside itself without retrieval and without reward, six people each; a second run trains nothing."""
    arguments, output = shared
    command, file = [*arguments, "--quick", "--panels=parts", *KEYS], output / "rq3" / "rows.json"
    rq3.main(command)
    rows = json.loads(file.read_text())["settings"]
    assert list(rows) == ["RAGAR", "without retrieval", "without rank reward"]
    for row in rows.values():
        assert {gain["n"] for gain in row["gains"].values()} == {6}
    assert "<svg" in (output / "rq3" / "parts.svg").read_text()
    printed = capsys.readouterr().out
    assert (
        "| setting | score − own picture | score − a stranger's | relevance − own picture | score − RAGAR |" in printed
    )
    finished = {folder.name for folder in (output / "store").iterdir()}
    rq3.main(command)
    assert {folder.name for folder in (output / "store").iterdir()} == finished
    assert json.loads(file.read_text())["settings"] == rows


@pytest.mark.slow
def test_histories_are_chosen_in_three_ways(shared: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    arguments, output = shared
    figure2.main([*arguments, "--quick", *KEYS])
    modes = ["top_k", "next_k", "random"]
    for name in ("rows", "retrieval"):
        assert list(json.loads((output / "figure2" / f"{name}.json").read_text())["settings"]) == modes
    printed = capsys.readouterr().out
    assert printed.index("P_ret itself") < printed.index("Pictures of a generator trained so")


def test_unknown_panels_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        rq3.main(["--panels=kk"])
    assert "no panel is called kk; there are parts, k, r," in capsys.readouterr().err
