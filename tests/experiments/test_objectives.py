import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from experiments import objectives
from film_world import TINY, film_folder


def test_ranks_gains_and_means_by_hand() -> None:
    """Four people; v_gen is first for a, second for b (ties count against it) and c, third for d."""
    table = {
        "own": [3.0, 1.0, 1.0, 0.0],
        "reference_image": [1.0, 1.0, 2.0, 1.0],
        "global": [2.0, 0.0, 0.0, 2.0],
        "untrained": [0.0, 0.0, 0.0, 0.0],
        "shuffled_user": [3.0, 1.0, 1.0, 0.0],
    }
    frame = pd.DataFrame(
        [(user, name, value) for name, values in table.items() for user, value in zip("abcd", values, strict=True)],
        columns=pd.Index(["user", "control", "value"]),
    )
    found = objectives.summary(frame)
    assert found["ranks"] == [0.25, 0.5, 0.25]
    assert found["score"]["value"] == pytest.approx(5 / 4)
    gains = {name: it["value"] for name, it in found["gains"].items()}
    assert gains == pytest.approx({"v_ref": 0.0, "v_glob": 1 / 4, "untrained": 5 / 4, "shuffled_user": 0.0})


def test_unknown_settings_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        objectives.parse(["--settings", "reinforce, fool"])
    assert "no setting is called reinforce, fool; there are reinforce, low_rank; " in capsys.readouterr().err


def test_two_settings_of_a_tiny_world(tmp_path: Path) -> None:
    """Every number has its people: 30, of whom 6 test the generator and 3 choose the setting.

    A setting measured later joins the others; under another config it is alone, and its pictures are drawn anew.
    """
    config = tmp_path / "tiny.yaml"
    config.write_text(yaml.safe_dump(TINY))
    names = ("reinforce, low_rank", "path")
    given = ["--config", str(config), "--data", str(film_folder(tmp_path / "raw")), "--output", str(tmp_path / "out")]
    file, pictures = tmp_path / "out" / "objectives.json", tmp_path / "out" / "pictures"
    objectives.main([*given, "--settings", names[1], "--generator.history_length=20"])
    first = json.loads(file.read_text())["settings"]
    assert tuple(first) == names[1:]
    objectives.main([*given, "--settings", names[0], "--generator.history_length=20"])
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
    objectives.main([*given, "--settings", names[1], "--generator.history_length=20", "--generator.steps=3"])
    assert tuple(json.loads(file.read_text())["settings"]) == names[1:]
    after = sorted(pictures.glob("pmg-like-*/00000.safetensors"))
    assert (len(before), len(after)) == (1, 2)
    assert len({shard.read_bytes() for shard in after}) == 2
