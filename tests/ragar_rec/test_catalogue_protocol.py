"""The protocol `catalogue` and the controls `noise` and `everybody`, by every stage on two dozen films."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from film_world import HOLE, PEOPLE, config_file, open_run
from ragar_rec import pipeline
from ragar_rec.config.sections import EvaluationConfig
from ragar_rec.evaluation import retrained
from ragar_rec.evaluation.per_user import OWN
from ragar_rec.evaluation.ranker_test import held_out_values
from ragar_rec.evaluation.retrained import retrained_values
from ragar_rec.evaluation.reward import normalise
from ragar_rec.experiment import Experiment
from ragar_rec.stages.everybody import EverybodyPictures, EverybodySystem, ImpersonalGenerator
from ragar_rec.stages.item_pictures import Blocks
from ragar_rec.stages.retrained import CataloguePictures, CatalogueTrial, RegeneratedFeatures
from ragar_rec.stages.stage import Keyed
from recsys.features import FeatureTable

CONTROLS = ["original", "reconstruction", "shuffled_user", "random_item", "noise", "everybody"]
PLAIN = """
class Nobody:
    def generate(self, requests):
        raise NotImplementedError
"""
"""A system that no reward trains."""
SETTINGS = {"evaluation__protocols": ["candidates", "catalogue"], "evaluation__controls": CONTROLS}


@pytest.fixture(scope="module")
def run(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    home = tmp_path_factory.mktemp("catalogue")
    config = config_file(home, epochs=1, evaluation__catalogue_seeds=[0], **SETTINGS)
    return open_run(config, films, home / "out")


@pytest.fixture(scope="module")
def frame(run: Experiment) -> pd.DataFrame:
    return run.results.frame.query("protocol == 'catalogue'")


def trial_of(run: Experiment) -> CatalogueTrial:
    trial = run.judging.new_catalogue_trial(run.system)
    assert trial is not None
    return trial


def test_every_control_has_every_person_and_seed(frame: pd.DataFrame) -> None:
    assert set(frame["control"]) == {OWN, *CONTROLS}
    assert set(frame["metric"]) == {"recall@10", "ndcg@10"}
    assert set(frame["judge"]) == {"MICRO on dual"}
    cells = frame.groupby(["control", "training_seed", "metric"]).size()
    assert set(cells) == {PEOPLE}
    assert len(cells) == 7 * 2


def test_the_originals_are_the_run_s_own_ranker_and_values(run: Experiment, frame: pd.DataFrame) -> None:
    rankers = trial_of(run).results("MICRO", run.ranker).rankers
    assert rankers["original"][0].folder == run.ranker.folder
    assert rankers["random_item"][0].folder == run.shuffled_ranker.folder
    expected = held_out_values(run.ranker.trained.ranker, run.ranker.dataset, [10])["ndcg@10"]
    rows = frame.query("control == 'original' and training_seed == 0 and metric == 'ndcg@10'")
    np.testing.assert_array_equal(rows.set_index("user")["value"].sort_index(), expected.sort_index())


def test_every_seed_trains_every_control(run: Experiment) -> None:
    trial = CatalogueTrial(run.system, run.config.evaluation, {0: 0, 3: 3})
    for control, (first, second) in trial.results("MICRO", run.ranker).rankers.items():
        assert first.settings == run.ranker.settings, control
        assert second.settings == {**run.ranker.settings, "seed": 2023}, control


def test_a_generator_draws_for_the_rankers_of_its_own_seed_and_the_first_for_those_of_no_generator() -> None:
    settings = EvaluationConfig(training_seeds=(0, 1), catalogue_seeds=(0, 1, 2))
    assert settings.retraining_seeds(0) == (0, 2)
    assert settings.retraining_seeds(1) == (1,)
    assert EvaluationConfig(training_seeds=(0, 5)).retraining_seeds(5) == ()


def test_the_ranker_s_other_features_are_those_of_new_pictures_centred_anew(run: Experiment) -> None:
    for name, ranker in trial_of(run).results("MICRO", run.ranker).rankers.items():
        table = FeatureTable.read(ranker[0].features.file("image"))
        assert table.ids == FeatureTable.read(run.features.file("image")).ids
        assert HOLE not in table.ids
        np.testing.assert_allclose(table.values.mean(0), 0, atol=1e-5, err_msg=name)
        assert ranker[0].features.file("text") == run.features.file("text")


class TwoPictures(Keyed):
    """White and black for the first film, white for the second."""

    def blocks(self) -> Blocks:
        return [(["1", "2"], torch.ones(2, 3, 32, 32)), (["1"], torch.zeros(1, 3, 32, 32))]


def test_several_pictures_count_by_their_mean_and_the_others_keep_theirs(run: Experiment) -> None:
    features = RegeneratedFeatures(run.workspace, run.features, TwoPictures(run.workspace))
    old, new = (FeatureTable.read(stage.file("image")).values for stage in (run.features, features))
    white, black = run.features.encoder.encode_images(torch.stack([torch.ones(3, 32, 32), torch.zeros(3, 32, 32)]))
    white, black = (normalise(rows[None], features.mean, features.whitening)[0].detach() for rows in (white, black))
    np.testing.assert_allclose(new[0], (white + black) / 2, atol=1e-5)
    np.testing.assert_allclose(new[1], white, atol=1e-5)
    np.testing.assert_allclose(new[2:] - new[2], old[2:] - old[2], atol=1e-5)


def test_whitened_features_of_new_pictures_lose_the_mean_that_the_stage_names(run: Experiment) -> None:
    whitened = replace(run.features, whiten=4)
    features = RegeneratedFeatures(run.workspace, whitened, TwoPictures(run.workspace))
    white = features.encoder.encode_images(torch.ones(1, 3, 32, 32))
    assert features.whitening is not None
    row = normalise(white, features.mean, features.whitening)[0].detach()
    np.testing.assert_allclose(FeatureTable.read(features.file("image")).values[1], row, atol=1e-4)


def test_the_protocol_is_no_part_of_what_the_others_are_drawn_for(run: Experiment) -> None:
    without = open_run(run.output.parent / "tiny.yaml", run.workspace.data or Path(), run.output)
    without.config = replace(without.config, evaluation=replace(run.config.evaluation, protocols=("candidates",)))
    assert without.drawn.key == run.drawn.key


def test_the_protocol_stands_alone(run: Experiment) -> None:
    alone = open_run(run.output.parent / "tiny.yaml", run.workspace.data or Path(), run.output)
    alone.config = replace(alone.config, evaluation=replace(run.config.evaluation, protocols=("catalogue",)))
    assert set(alone.results.frame["protocol"]) == {"catalogue", "generator", "diversity"}
    assert len(alone.results.ownership) == 0


def test_the_store_knows_what_the_protocol_uses(run: Experiment) -> None:
    again = open_run(run.output.parent / "tiny.yaml", run.workspace.data or Path(), run.output)
    used = again.used_folders()
    names = {folder.name.rsplit("-", 1)[0] for folder in used}
    assert {"catalogue-images", "regenerated-features", "everybody-images", "generator-everybody"} <= names
    rankers = [ranker for seeds in trial_of(run).results("MICRO", run.ranker).rankers.values() for ranker in seeds]
    assert len({ranker.folder for ranker in rankers}) == 7
    assert {ranker.folder for ranker in rankers} <= used


def test_some_of_the_items_are_drawn_by_seed_and_shuffled_among_themselves(run: Experiment) -> None:
    settings = replace(run.config.evaluation, catalogue_items=5)
    trial = CatalogueTrial(run.system, settings, {0: 0})
    own = trial.sources[OWN]
    assert isinstance(own, CataloguePictures)
    assert {request.reference for request in own.requests()} == set(trial.items.ids)
    assert len(set(trial.items.ids)) == 5
    table = FeatureTable.read(trial.results("MICRO", run.ranker).rankers["random_item"][0].features.file("image"))
    originals = FeatureTable.read(run.features.file("image"))
    moved = [
        item for item, old, new in zip(table.ids, originals.values, table.values, strict=True) if (old != new).any()
    ]
    assert set(moved) <= set(trial.items.ids)
    assert moved


def test_sparse_items_have_metrics_of_their_own(run: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every film has 7 to 19 training interactions: below 13 are some, below 5 none, below 30 all of them."""
    names = {bound: set() for bound in (5, 13, 30)}
    for bound, metrics in names.items():
        monkeypatch.setattr(retrained, "SPARSE", bound)
        metrics.update(metric for _, metric, _ in retrained_values(run.ranker.trained, 10))
    assert names[5] == names[30] == {"recall@10", "ndcg@10"}
    assert names[13] == names[5] | {"recall@10 sparse", "ndcg@10 sparse"}


def test_nothing_of_the_person_enters_the_pictures_for_everybody(run: Experiment) -> None:
    """Users of requests exchanged, histories and seeds with them: bit for bit the same pictures."""
    system = EverybodySystem.beside(run.system)
    assert all(request.history == (request.reference,) for request in system.training_requests)
    personal = run.ragar.training_requests
    assert [r.user for r in system.training_requests] == [r.user for r in personal]  # whom the reward asks
    one = personal[:4]
    others = [replace(a, user=b.user, history=b.history, seed=b.seed) for a, b in zip(one, one[::-1], strict=True)]
    generator = ImpersonalGenerator(system.batched(8), seed=0)
    assert torch.equal(generator.generate(one), generator.generate(others))
    assert not torch.equal(run.ragar.batched(8).generate(one), run.ragar.batched(8).generate(others))
    # It is a generator of its own: its weights differ from those of the one with histories.
    assert system.folder != run.ragar.folder


def test_everybody_gets_one_picture_an_item(run: Experiment) -> None:
    stage = run.results.everybody
    assert isinstance(stage, EverybodyPictures)
    assert len(stage.shards) == len(stage.items.ids) == len(set(stage.items.ids))
    shown = {request.reference for request in run.drawn.requests()}
    assert set(stage.items.ids) == shown
    found = run.results.frame
    assert "everybody" in set(found.query("protocol == 'generator'")["control"])
    assert {"noise", "everybody"} <= set(found.query("protocol == 'candidates'")["control"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"evaluation__protocols": ["catalogue"], "evaluation__catalogue_items": 24},
            "evaluation.catalogue_items asks for 24 new pictures, but only 23 items have a picture: give at most 23",
        ),
        (
            {"evaluation__controls": ["original", "everybody"], "generator__system": "plain_shop:Nobody"},
            "evaluation.controls names everybody, .* but no ranker's reward trains Nobody: leave everybody out",
        ),
    ],
)
def test_what_cannot_be_evaluated_is_said_before_anything_is_trained(
    settings: dict[str, object], words: str, films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "plain_shop.py").write_text(PLAIN)
    run = open_run(config_file(tmp_path, **settings), films, tmp_path / "out")
    with pytest.raises(ValueError, match=words):
        pipeline.evaluate(run)
    assert not {"ranker", "backbone", "generator"} & set(run.store.ran)
