"""Whether rankers use their pictures, on a world in which a withheld item's picture is all that is known of it."""

from pathlib import Path

import pandas as pd
import pytest

from ragar_rec.studies.picture_use import PictureUse, summary
from worlds import checkerboard


def test_differences_are_paired_by_person_and_averaged_over_seeds() -> None:
    """Two people, two seeds. Own: 1 and 0, then 1 and 1: people .. 1 and .5, mean .75; seeds .5 and 1, sd .25 sqrt 2.

    Permuted: 0 for both people and seeds: the difference is .75. Shuffled: as own in every cell: 0.
    """
    values = {"own": (1, 0, 1, 1), "permuted": (0, 0, 0, 0), "shuffled": (1, 0, 1, 1)}
    frame = pd.DataFrame(
        [
            {"user": user, "metric": metric, "value": float(value), "seed": seed, "pictures": kind}
            for kind, cells in values.items()
            for (seed, user), value in zip([(1, "a"), (1, "b"), (2, "a"), (2, "b")], cells, strict=True)
            for metric in ("recall@10", "ndcg@10")
        ]
    )
    found = summary(frame)
    assert found["own"]["recall@10"]["value"] == 0.75
    assert found["own"]["ndcg@10"]["sd"] == pytest.approx(0.25 * 2**0.5)
    assert found["own − permuted"]["recall@10"]["value"] == 0.75
    assert found["own − shuffled"]["recall@10"] == {
        "value": 0,
        "low": 0,
        "high": 0,
        "n": 2,
        "error": 0,
        "freedom": None,
    }


@pytest.mark.slow
def test_a_ranker_that_reads_pictures_loses_by_permuted_ones(tmp_path: Path) -> None:
    """20 cold items are ranked among each other: chance is Recall@10 .5, whoever sees the parity has almost 1.

    VBPR reads it in the picture. Permuted pictures, at the test or from the first epoch on, say nothing of it.
    """
    world = checkerboard(tmp_path)
    keys = {"eval_args": {"split": {"COLD": 0.4}}, "topk": [10], "valid_metric": "Recall@10"}
    config = {**world.config, **keys, "model": "VBPR", "features": {"image": str(world.image)}}
    study = PictureUse(config, tmp_path / "out", n_seeds=1)
    study.add("VBPR")
    row = study.rows["VBPR"]
    assert row["own"]["recall@10"]["value"] > 0.9
    for kind in ("own − permuted", "own − shuffled"):
        assert row[kind]["recall@10"]["value"] == pytest.approx(0.45, abs=0.1)
        assert row[kind]["recall@10"]["low"] > 0.25
    assert row["own among all"]["recall@10"]["value"] < row["own"]["recall@10"]["value"]
    study.write({})
    assert {"picture_use.json", "picture_use"} == {file.name for file in (tmp_path / "out").iterdir()}
    frame = pd.read_parquet(tmp_path / "out" / "picture_use" / "VBPR.parquet")
    people = frame.groupby(["pictures", "seed", "metric"])["user"].nunique()
    assert set(people) == {row["own"]["recall@10"]["n"]} == {54}  # the others have no cold item in the test
    assert [line.split(" | ")[0] for line in study.markdown().splitlines()] == ["| ranker", f"|{'---|' * 8}", "| VBPR"]
