"""What retrieval is worth on two dozen films, worked out by hand from what was retrieved."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from film_world import config_file, open_run
from ragar_rec.experiment import Experiment
from ragar_rec.studies.retrieval import SETTINGS, ReferenceScores, retrieval_gains, retrieval_table
from recsys.features import FeatureTable


def test_every_way_of_retrieving_is_measured_on_everybody(run: Experiment) -> None:
    gains = retrieval_gains(run)
    assert tuple(gains) == tuple(SETTINGS)
    assert {group: row["own picture"]["n"] for group, row in gains["minmax"].items()} == {"choosing": 24, "test": 6}
    assert gains["whole history, equal weights"]["test"]["largest weight"] < gains["minmax"]["test"]["largest weight"]


def test_by_taste_the_pictures_retrieved_lie_further_along_it(run: Experiment, films: Path, tmp_path: Path) -> None:
    """The weighted mean, over people, of the retrieved pictures' cosines with the taste rises with its share."""
    config = config_file(tmp_path, generator__history_length=20, generator__retrieval_taste=0.5)
    asking = open_run(config, films, run.output)
    assert list(retrieval_gains(asking))[-2:] == ["minmax, half by taste", "minmax, by taste"]
    ragar = asking.components.new_generator(asking.config.generator)
    ragar.taste, requests, fits = asking.ragar.taste, asking.ragar.training_requests, []
    for share in (0.0, 0.5, 1.0):
        ragar.config = replace(ragar.config, retrieval_taste=share)
        rows, weights, _ = ragar.retrieve(requests)
        cosines = F.normalize(ragar.centred_features(rows), dim=2) @ asking.ragar.taste(requests)[:, :, None]
        fits.append(float((weights * ragar.gallery.pictured[rows] * cosines[..., 0]).sum(1).mean()))
    assert fits[0] < fits[1] < fits[2]


def test_scores_are_those_of_the_mean_of_what_was_retrieved(run: Experiment) -> None:
    people, ragar = ReferenceScores(run, run.ragar.people.test), run.components.new_generator(run.config.generator)
    originals = people.view.scores(people.users)[torch.arange(6), people.items] / people.view.spread(people.users)
    assert people.reference == pytest.approx(originals.numpy(), abs=1e-5)
    ids, weights, _ = ragar.retrieve(people.own[:1])
    rows, present = FeatureTable.read(run.features.file("image")).align([run.pictures.items[row].id for row in ids[0]])
    shares = weights[0].numpy() * present
    features, _ = people.retrieved(ragar, people.own)
    assert features[0].numpy() == pytest.approx(shares @ rows / shares.sum(), abs=1e-5)


def test_people_for_whom_nothing_is_retrieved_are_left_out(run: Experiment) -> None:
    """Six items before each reference are read: of the ranks 6 to 10 there is one, of 7 to 12 none."""
    people, ragar = ReferenceScores(run, run.ragar.people.test), run.components.new_generator(run.config.generator)
    ragar.config = replace(ragar.config, history_length=6, k=5, history="next_k")
    (own, _, _), (others, _, _) = ragar.retrieve(people.own), ragar.retrieve(people.others)
    people.present[own[0, 0]] = False
    some = people.present[own[:, 0]] & people.present[others[:, 0]]
    row = people.row(ragar)
    assert row["own picture"]["n"] == row["stranger"]["n"] == int(some.sum()) < 6
    assert (row["people"], row["largest weight"]) == (6, 1)
    scores = people.scores(people.features[own[some, 0]], some)
    assert row["own picture"]["value"] == pytest.approx((scores - people.reference[some.numpy()]).mean(), abs=1e-5)
    ragar.config = replace(ragar.config, k=6)
    assert people.row(ragar) == {}
    table = retrieval_table({"some": {"choosing": row, "test": {}}})
    assert f"], {int(some.sum())} of 6 people | nobody | nobody |" in table
    full = retrieval_table({"all": {"choosing": {**row, "people": row["own picture"]["n"]}}})
    assert "people" not in full
