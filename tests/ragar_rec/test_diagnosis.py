"""`ragar-rec diagnose` on two dozen films: its values are those of the rankers, and no generator is trained."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from film_world import PEOPLE, config_file, open_run
from ragar_rec import pipeline
from ragar_rec.evaluation.diagnosis import findings
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
    said = " ".join(printed.split())
    assert all(f"{finding['question']} {finding['answer']}" in said for finding in written["findings"])
    assert max(map(len, printed.splitlines())) <= 100


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"diagnosis": SETTINGS | {"pictures": 100}}, r"diagnosis\.pictures asks for 100, but only 23 items have one"),
        ({"diagnosis": SETTINGS, "model": "BPR"}, "model BPR scores without pictures"),
        ({"diagnosis": SETTINGS | {"users": 1}}, "1 of 1 people have a pictured training item .* at least 2"),
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


def test_the_shuffled_ranker_counts_by_all_its_tables(run: Experiment, films: Path, tmp_path: Path) -> None:
    """Only the images are shuffled, but it reads the texts too: other texts make another ranker."""
    keys = {"model": "VBPR", "knn_k": None, "features__image_encoder": "hog", "features__text_dim": 4}
    other = open_run(config_file(tmp_path, **keys), films, run.output)
    assert other.features.content != run.features.content
    assert other.shuffled_ranker.features.content != run.shuffled_ranker.features.content
    assert other.shuffled_ranker.key != run.shuffled_ranker.key


def test_pruning_keeps_the_diagnosis_and_what_this_very_run_has_built(run: Experiment) -> None:
    built = [run.pictures, run.features, run.ranker, run.shuffled_ranker, *run.baselines(), run.diagnosis]
    folders = [stage.folder for stage in built]
    pipeline.store(run, prune=True)
    assert all(folder.is_dir() for folder in folders)


def test_a_baseline_has_its_own_penalty_and_none_stands_beside_cold_items(films: Path, tmp_path: Path) -> None:
    config = config_file(tmp_path, model="VBPR", knn_k=None, features__image_encoder="hog", reg_weight=1e-5)
    ease = open_run(config, films, tmp_path / "out").baselines()[-1]
    assert (ease.settings["model"], "reg_weight" in ease.settings) == ("EASE", False)
    cold = config_file(tmp_path, features__image_encoder="hog", eval_args={"split": {"COLD": 0.4}})
    assert open_run(cold, films, tmp_path / "out").baselines() == []


def test_shares_of_nobodys_reaction_are_no_number_in_json(run: Experiment) -> None:
    found = findings(run.diagnosis.frame, metric="ndcg@10", personal_share=float("nan"), resamples=20)
    assert json.loads(json.dumps([f.as_dict() for f in found], allow_nan=False))[2]["numbers"]["personal share"] is None
