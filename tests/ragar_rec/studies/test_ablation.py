"""Variants of an experiment: what each changes, and what is worked out of everybody's numbers."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from film_world import config_file
from generation.ragar.config import RagarConfig
from ragar_rec.config.config import Config
from ragar_rec.evaluation.per_user import COLUMNS, OWN
from ragar_rec.experiment import Experiment
from ragar_rec.report.plots import Estimates, estimates_svg
from ragar_rec.studies.ablation import PANELS, panels, write_plots
from ragar_rec.studies.arguments import ExperimentSource, as_overrides
from ragar_rec.studies.variants import QUICK_KEYS, VariantStudy, gains
from recsys.scoring.statistics import Interval


@pytest.fixture
def source(tmp_path: Path) -> ExperimentSource:
    file = config_file(tmp_path, generator__history_length=20)
    return ExperimentSource(file, ("--epochs=3",), None, None, tmp_path / "out")


def test_every_variant_is_a_config_that_can_be_run(source: ExperimentSource) -> None:
    """Each panel but the first has the defaults' own value, so that its curve passes through RAGAR."""
    base = source.open().config
    for quick in (False, True):
        for panel, variants in panels(base, PANELS, quick=quick).items():
            for name, changes in variants.items():
                varied = source.varied(changes).open().config
                assert varied.recbole["epochs"] == 3, (panel, name)
                for key, value in changes.items():
                    section, _, field = key.partition(".")
                    assert getattr(getattr(varied, section), field) == value, (panel, name)
    assert tuple(panels(base, PANELS)) == PANELS
    assert panels(base, ())["parts"]["without retrieval"] == {"generator.k": 20, "generator.temperature": 1e6}
    assert panels(base, ("r",))["r"]["r 3"] == {"reflection.samples": 3, "reflection.antithetic": False}
    assert panels(base, ("r",))["r"]["r 4"] == {"reflection.samples": 4}
    assert list(panels(base, ("k",))["k"]) == ["k 0", "k 1", "k 2", "k 3", "k 5", "k 7", "k 10"]


def test_noise_is_studied_where_there_is_some(source: ExperimentSource) -> None:
    """`path` draws none: r and its place are varied under `reinforce`; a quick panel has the config's own value too."""
    base = source.varied({"reflection.objective": "path", "reflection.samples": 4, "generator.k": 5}).open().config
    found = panels(base, ("k", "r", "noise", "objective"), quick=True)
    assert found["k"] == {"k 0": {"generator.k": 0}, "k 5": {"generator.k": 5}, "k 10": {"generator.k": 10}}
    assert found["r"] == {
        "r 4": {"reflection.samples": 4, "reflection.objective": "reinforce"},
        "r 8": {"reflection.samples": 8, "reflection.objective": "reinforce"},
    }
    assert list(found["noise"]) == ["noise full", "noise low_rank"]
    assert {changes["reflection.objective"] for changes in found["noise"].values()} == {"reinforce"}
    assert list(found["objective"]) == ["objective path", "objective paper_literal"]


def test_no_more_is_retrieved_than_a_history_has(tmp_path: Path) -> None:
    base = Config.read(config_file(tmp_path, generator__history_length=5))
    assert list(panels(base, ("k",))["k"]) == ["k 0", "k 1", "k 2", "k 3", "k 5"]


def test_what_was_typed_wins_over_the_quick_runs_keys(source: ExperimentSource) -> None:
    typed = replace(source, overrides=(*as_overrides(QUICK_KEYS), "--reflection.reward_steps=5"))
    reflection = typed.open().config.reflection
    assert (reflection.reward_steps, reflection.warm_start_steps) == (5, 60)


def test_gains_are_paired_differences_over_people() -> None:
    """Own 3 and 5, stranger's 2 and 2, own picture 4 and 4: gains 2 and 0. NDCG by seed is averaged first: .5 - .25."""
    rows = [("u", 3, 2, 4), ("v", 5, 2, 4)]
    scores = [
        (user, "RAGAR", "generator", control, "MICRO", 0, 0, "score", float(value))
        for user, *values in rows
        for control, value in zip((OWN, "shuffled_user", "reference_image"), values, strict=True)
    ]
    ranked = [
        ("u", "RAGAR", "candidates", control, "MICRO", 0, seed, "ndcg@10", value)
        for control, values in ((OWN, (0.25, 0.75)), ("original", (0.25, 0.25)))
        for seed, value in enumerate(values)
    ]
    found = gains(pd.DataFrame([*scores, *ranked], columns=pd.Index(COLUMNS)))
    assert {name: gain["value"] for name, gain in found.items()} == {
        "score − own picture": 0.0,
        "score − a stranger's": 2.0,
        "NDCG − original": 0.25,
    }
    assert {name: gain["n"] for name, gain in found.items()} == {
        "score − own picture": 2,
        "score − a stranger's": 2,
        "NDCG − original": 1,
    }


def test_variants_that_are_one_config_share_its_trainings_and_its_numbers(run: Experiment) -> None:
    """The default's own value changes nothing: the same six people, a difference of 0; a second study reads them."""
    source = ExperimentSource(run.output.parent / "tiny.yaml", (), run.workspace.data, None, run.output)
    variants = {"RAGAR": {}, "k 2": {"generator.k": 2}}
    study = VariantStudy(source, "study", variants)
    rows = {name: study.measure(name) for name in variants}
    assert run.ragar.folder.is_dir()
    assert rows["RAGAR"] == rows["k 2"]
    scores = study.frame("RAGAR").query("judge != 'relevance'").pivot(index="user", columns="control", values="value")
    expected = (scores["own"] - scores["shuffled_user"]).mean()
    assert rows["RAGAR"]["gains"]["score − a stranger's"]["value"] == pytest.approx(expected)
    assert rows["RAGAR"]["gains"]["score − a stranger's"]["n"] == len(scores) == 6
    assert study.against_first("k 2")["value"] == 0
    assert study.table().splitlines()[-1].endswith("| +0.000 [+0.000, +0.000] |")
    again = VariantStudy(source, "study", variants)
    assert again.rows == rows
    assert VariantStudy(source, "study", variants, people=3).rows == {}
    assert [file.name for file in write_plots(study, {"k": {"k 2": {}}, "r": {"r 2": {}}})] == ["k.svg"]


def test_settings_in_numbers_stand_at_their_places() -> None:
    """Words and numbers both become ticks; ids of equal plots are equal, so that files do not change by themselves."""
    intervals = [Interval(value, value - 0.1, value + 0.1, 6) for value in (0.1, 0.3, 0.2)]
    estimates = [Estimates("score", intervals)]
    on_scale = estimates_svg(["0", "1", "10"], estimates, x_label="k")
    in_words = estimates_svg(["full", "low_rank", "1"], estimates, x_label="noise")
    assert on_scale == estimates_svg(["0", "1", "10"], estimates, x_label="k")
    for text in (">10<", ">score<", ">k<"):
        assert text in on_scale
    assert ">low_rank<" in in_words


def test_nothing_retrieved_is_a_setting() -> None:
    assert list(RagarConfig(k=0).conflicts()) == []
    assert list(RagarConfig(k=-1).conflicts()) == ["k -1 must not be negative (0 retrieves nothing)"]
