"""The table of systems as its reader starts it, on two dozen films."""

from pathlib import Path
from typing import get_args

import pandas as pd
import pytest

from experiments import rq4
from ragar_rec.config.config import Config
from ragar_rec.config.sections import Control, Protocol

KEYS = (
    "--judges.other={model: VBPR, image_encoder: hog}",
    *("--reflection.warm_start_steps=2", "--reflection.reward_steps=2", "--reflection.held_out=0.2"),
    *("--evaluation.candidates=3", "--evaluation.users=6", "--diagnosis.optimised=0"),
)


@pytest.mark.slow
def test_two_systems_and_two_judges_stand_in_one_table(
    shared: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each mean is that of the six people; a second run makes no further stage."""
    arguments, output = shared
    command = [*arguments, "--quick", *KEYS]
    assert rq4.main(command) == 0
    table = (output / "table4.md").read_text()
    assert table in capsys.readouterr().out
    frame = pd.read_parquet(output / "per_user.parquet").query("protocol == 'candidates' and metric == 'ndcg@10'")
    judges = ["MICRO on dual", "VBPR on hog"]
    candidates = table[: table.index("`reference`")]
    assert candidates.startswith("`candidates`, 6 people")
    for name, system, control in (("ORI", "RAGAR", "original"), ("RAGAR", "RAGAR", "own"), ("PMG", "PMG", "own")):
        line = next(line for line in candidates.splitlines() if line.startswith(f"| {name} |"))
        for judge in judges:
            cell = frame[(frame["system"] == system) & (frame["control"] == control) & (frame["judge"] == judge)]
            assert len(cell) == 6
            assert f" {cell['value'].mean():.4f} [" in line
    finished = {folder.name for folder in (output / "store").iterdir()}
    assert rq4.main(command) == 0
    assert {folder.name for folder in (output / "store").iterdir()} == finished


@pytest.mark.parametrize(
    ("typed", "systems", "complete"),
    [([], ("ragar", "pmg"), False), (["--systems=pmg", "--complete"], ("pmg",), True), (["--quick"], None, False)],
)
def test_options_are_keys_of_the_config(
    typed: list[str], systems: tuple[str, ...] | None, complete: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(rq4, "ragar_rec", lambda arguments: seen.extend(arguments) or 2)
    assert rq4.main([*typed, "--evaluation.users=9"]) == 2
    config = Config.read("ml-100k-long", [argument for argument in seen if "." in argument.partition("=")[0]])
    assert config.generator.systems == (systems or ("ragar", "pmg"))
    assert (set(config.evaluation.protocols) == set(get_args(Protocol))) == complete
    assert (set(config.evaluation.controls) == set(get_args(Control))) == complete
    assert config.evaluation.users == 9  # what was typed wins over the quick run's keys
    assert config.pmg.epochs == (1 if "--quick" in typed else 3)
