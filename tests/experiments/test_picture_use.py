"""The script on the use of pictures, as its reader starts it."""

import json
from pathlib import Path

import pytest

from experiments import picture_use


def test_a_ranker_that_the_table_does_not_have_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        picture_use.main(["--models=Nothing"])
    assert "no ranker is called Nothing; there are Pop, ItemKNN, EASE" in capsys.readouterr().err


@pytest.mark.slow
def test_the_table_is_what_was_written(shared: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    arguments, output = shared
    picture_use.main([*arguments, "--quick", "--models=Pop,VBPR"])
    content = json.loads((output / "quick" / "picture_use.json").read_text())
    assert [row["model"] for row in content["rows"]] == ["Pop", "VBPR"]
    printed = capsys.readouterr().out
    assert f"| VBPR | {content['rows'][1]['own']['recall@10']['value']:.4f} [" in printed
    assert printed.count("| – | – | – | – |") == 1
