"""The objectives experiment as its reader starts it."""

import json
from pathlib import Path

import pytest

from experiments import objectives


def test_unknown_settings_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        objectives.main(["--settings", "reinforce, fool"])
    assert "no setting is called reinforce, fool; there are reinforce, low_rank; " in capsys.readouterr().err


@pytest.mark.slow
def test_two_settings_of_a_tiny_world(shared: tuple[list[str], Path]) -> None:
    """Every number has its people: 30, of whom 6 test the generator and 3 choose the setting.

    A setting measured later joins the others; under another config it is alone, and its pictures are drawn anew.
    """
    names = ("reinforce, low_rank", "path")
    arguments, output = shared
    file, pictures = output / "objectives.json", output / "pictures"
    objectives.main([*arguments, "--settings", names[1]])
    first = json.loads(file.read_text())["settings"]
    assert tuple(first) == names[1:]
    objectives.main([*arguments, "--settings", names[0]])
    found = json.loads(file.read_text())
    assert found["settings"][names[1]] == first[names[1]]
    assert tuple(found["settings"]) == names
    for name in names:
        assert found["settings"][name]["test"]["gains"]["v_glob"]["n"] == 6
        assert found["settings"][name]["valid"]["score"]["n"] == 3
        assert sum(found["settings"][name]["test"]["ranks"]) == pytest.approx(1)
    by_score = max(names, key=lambda name: found["settings"][name]["valid"]["score"]["value"])
    assert found["chosen"] == by_score
    both = found["delta_r under reference"]
    assert both["chosen - like PMG"]["value"] == pytest.approx(both["chosen"]["value"] - both["like PMG"]["value"])

    before = sorted(pictures.glob("pmg-like-*/00000.safetensors"))
    objectives.main([*arguments, "--settings", names[1], "--generator.steps=3"])
    assert tuple(json.loads(file.read_text())["settings"]) == names[1:]
    after = sorted(pictures.glob("pmg-like-*/00000.safetensors"))
    assert (len(before), len(after)) == (1, 2)
    assert len({shard.read_bytes() for shard in after}) == 2
