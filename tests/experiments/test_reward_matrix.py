"""Rewards and judges as their reader starts them, on two dozen films."""

from pathlib import Path

import pytest

from experiments import reward_matrix

KEYS = ("--reflection.warm_start_steps=2", "--reflection.reward_steps=2", "--reflection.held_out=0.2")


@pytest.mark.slow
def test_every_reward_has_a_row_and_every_judge_a_column(
    shared: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, output = shared
    command = [*arguments, "--models=MICRO,VBPR", "--encoders=dual,hog", *KEYS]
    reward_matrix.main(command)
    printed = capsys.readouterr().out
    heading = "| reward | MICRO on dual | MICRO on hog | VBPR on dual | VBPR on hog |"
    stranger, own = printed[printed.index("own - a stranger's") :].split("own - the item's own")
    for table in (stranger, own):
        assert heading in table
        assert [line.split()[1] for line in table.splitlines() if line.startswith(("| MICRO", "| VBPR"))] == [
            "MICRO",
            "VBPR",
        ]
    files = {file.name: file.stat().st_mtime_ns for file in (output / "reward-matrix").iterdir()}
    assert sorted(name.partition("-")[0] for name in files) == ["MICRO", "VBPR"]
    reward_matrix.main(command)
    assert {file.name: file.stat().st_mtime_ns for file in (output / "reward-matrix").iterdir()} == files
    assert capsys.readouterr().out.endswith(printed[printed.index("own - a stranger's") :])
