"""Tables of planted worlds: shares and means that can be counted."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ragar_rec.evaluation.worlds.trial import JUDGE, REWARD, Settings
from ragar_rec.studies.worlds import estimates_table, plot_estimates, run_trials, verdicts_table
from recsys.features import FeatureTable


def rows(world: str, rules: list[str], right: list[bool]) -> pd.DataFrame:
    """Trials with a true gain of .02 and an estimate of .03; the interval of the first alone holds the truth."""
    seeds = range(len(rules))
    frame = pd.DataFrame({"world": world, "seed": seeds, "ranker": REWARD, "truth": 0.02, "candidates": 0.03})
    frame = frame.assign(reference=0.5, personal_truth=0.0, stranger=0.0, permuted=np.nan, high=0.04)
    lows = [0.01] + [0.025] * (len(rules) - 1)
    return frame.assign(low=lows, **{"verdict 0.05": rules, "right 0.05": right})


def test_shares_and_means_by_hand() -> None:
    """One of two is right; of two intervals one holds the truth."""
    frame = pd.concat([rows("serves", ["personal gain, confirmed", "no gain"], [True, False])])
    frame = pd.concat([frame, frame.assign(ranker=JUDGE)])
    verdicts, estimates = verdicts_table(frame), estimates_table(frame)
    assert "| serves | personal gain, confirmed | 0.05 | 1 of 2 [1%, 99%] |" in verdicts
    assert "personal gain, confirmed 1, no gain 1" in verdicts
    cells = "+0.0200 [+0.0200, +0.0200] | +0.0300 [+0.0300, +0.0300] | 50% | +0.5000 [+0.5000, +0.5000]"
    assert f"| serves | {REWARD} | {cells} |" in estimates
    assert estimates.splitlines()[-1].endswith("| – |")


def test_no_log_can_tell_is_not_counted() -> None:
    assert "| persuades | no log can tell | 0.05 | – | no gain 1 |" in verdicts_table(
        rows("persuades", ["no gain"], [False])
    )


def test_small_trials_with_the_users_own_features(tmp_path: Path) -> None:
    """Rows in the order of the worlds, two a trial; the plot is the same file each time."""
    table = FeatureTable(tuple(map(str, range(70))), np.random.default_rng(0).normal(size=(70, 12)).astype(np.float32))
    table.write(tmp_path / "image.safetensors")
    small = Settings(people=30, items=60, clicks=(6, 3, 3), candidates=10, k=5, permutations=9, shuffles=1)
    worlds = ("nobody looks", "serves")
    frame = run_trials(worlds, (0, 1), tmp_path / "image.safetensors", settings=small)
    assert frame["world"].tolist() == ["nobody looks"] * 4 + ["serves"] * 4
    assert frame["seed"].tolist() == [0, 0, 1, 1] * 2
    assert frame["ranker"].tolist() == [REWARD, JUDGE] * 4
    for file in (tmp_path / "a.svg", tmp_path / "b.svg"):
        plot_estimates(frame, file)
    assert "true gain of NDCG" in (tmp_path / "a.svg").read_text() or (tmp_path / "a.svg").stat().st_size > 1000
    with pytest.raises(ValueError, match="a world of 240 items needs as many pictures"):
        run_trials(("serves",), (0,), tmp_path / "image.safetensors")
