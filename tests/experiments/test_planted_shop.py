"""The planted shop's script as its reader starts it."""

import json
from pathlib import Path

import pandas as pd
import pytest

from experiments import planted_shop
from film_world import config_file
from ragar_rec.studies.planted_shop import SYSTEMS


def test_bad_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        planted_shop.main(["--seeds", "0"])
    assert "--seeds must be at least 1, not 0" in capsys.readouterr().err


@pytest.mark.slow
def test_two_shops_of_posters(films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each shop has people of its own; truth, live test and the pipeline's own verdict stand side by side."""
    config, output = config_file(tmp_path, features={"image_encoder": "dual", "text_dim": 4}), tmp_path / "out"
    size = ["--people", "30", "--clicks", "10", "--next-clicks", "2", "--measured", "3", "--steps", "1"]
    planted_shop.main([f"--config={config}", f"--data={films}", f"--output={output}", "--seeds=2", *size])
    frame = pd.read_parquet(output / "planted_shop.parquet")
    assert len(frame) == 2 * 3 * (1 + 2 * len(SYSTEMS))
    verdicts = json.loads((output / "planted_shop.json").read_text())
    assert [[*found] for found in verdicts] == [["live test", "log"]] * 2
    assert {found["log"]["system"] for found in verdicts} == {"RAGAR"}
    assert (output / "seed-1" / "results.json").is_file()
    assert "| best by the true utility | " in capsys.readouterr().out
