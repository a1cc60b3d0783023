"""`ragar-rec diagnose` on two dozen films: its values are those of the rankers, and no generator is trained."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from film_world import PEOPLE, config_file, open_run
from ragar_rec import pipeline
from ragar_rec.experiment import Experiment
from recsys.recbole.models import full_scores
from recsys.scoring.metrics import per_user
from recsys.scoring.ranks import held_out_ranks

SETTINGS = {"pictures": 10, "draws": 2, "users": 0}


@pytest.fixture(scope="module")
def run(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    home = tmp_path_factory.mktemp("diagnosis")
    config = config_file(home, model="VBPR", knn_k=None, features__image_encoder="hog", diagnosis=SETTINGS)
    run = open_run(config, films, home / "out")
    pipeline.diagnose(run)
    return run


def test_no_generator_is_trained(run: Experiment) -> None:
    stages = {folder.name.rsplit("-", 1)[0] for folder in run.store.root.iterdir() if folder.is_dir()}
    assert {"diagnosis", "ranker", "baseline", "shuffled-features"} <= stages
    assert not stages & {"backbone", "generator", "warm-start", "encoder", "language", "images"}


def test_the_rankers_own_values_are_its_validation_metrics(run: Experiment) -> None:
    frame = pd.read_parquet(run.output / "diagnosis.parquet")
    own = frame.query("step == 'reading' and subject == 'own' and metric == 'ndcg@10'").set_index("user")["value"]
    ranker = run.ranker.trained
    expected = per_user(held_out_ranks(lambda u: full_scores(ranker.ranker, u), ranker.dataset, phase="valid"), 10)
    expected = expected[expected["metric"] == "ndcg@10"].set_index("user")["value"]
    assert len(own) == PEOPLE
    np.testing.assert_allclose(own.sort_index(), expected.sort_index())


def test_nobody_gains_more_than_by_the_best_picture(run: Experiment) -> None:
    """The best of the pool for the person gains at least what the best for a stranger, or for everybody, gains."""
    frame = run.diagnosis.frame.query("step == 'headroom'").pivot(index="user", columns="subject", values="value")
    assert (frame["own"] >= frame["stranger"] - 1e-6).all()
    assert (frame["own"] >= frame["everybody"] - 1e-6).all()
    assert (frame["spread"] > 0).all()


def test_what_is_printed_is_what_is_written(run: Experiment, capsys: pytest.CaptureFixture[str]) -> None:
    again = Experiment(run.config, run.output, data=run.workspace.data, progress=False)
    pipeline.diagnose(again)
    assert again.store.ran == []
    printed, written = capsys.readouterr().out, json.loads((run.output / "diagnosis.json").read_text())
    assert [finding["step"] for finding in written["findings"]] == [
        "reading",
        "baselines",
        "headroom",
        "retrieval",
        "equal treatment",
        "power",
    ]
    assert all(f"{finding['question']}\n  {finding['answer']}" in printed for finding in written["findings"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"diagnosis": SETTINGS | {"pictures": 100}}, r"diagnosis\.pictures asks for 100, but only 23 items have one"),
        ({"diagnosis": SETTINGS, "model": "BPR"}, "BPR reads no pictures when it scores"),
    ],
)
def test_what_cannot_be_diagnosed_is_said(films: Path, tmp_path: Path, changes: dict, words: str) -> None:
    config = config_file(tmp_path, knn_k=None, features__image_encoder="hog", **{"model": "VBPR", **changes})
    with pytest.raises(ValueError, match=words):
        pipeline.diagnose(open_run(config, films, tmp_path / "out"))


def test_permuted_features_belong_to_other_items(run: Experiment) -> None:
    (first, second) = run.diagnosis._with_permuted(["image"])
    own = run.ranker.trained.ranker.content.features("image")
    drawn = [trained.ranker.content.features("image") for trained in (first, second)]
    assert not torch.equal(drawn[0], own) and not torch.equal(drawn[0], drawn[1])
    for features in drawn:
        torch.testing.assert_close(features.sum(0), own.sum(0))
