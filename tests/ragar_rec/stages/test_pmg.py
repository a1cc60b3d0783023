"""PMG through every command: trained without the ranker, drawn in any division of batches, judged like every system."""

import re
from pathlib import Path

import pytest
import torch

from film_world import config_file, open_run
from generation.settings import INCIDENTAL
from ragar_rec import pipeline
from ragar_rec.evaluation.per_user import OWN
from ragar_rec.experiment import Experiment
from ragar_rec.stages import PmgSystem, System
from ragar_rec.store.curves import read_curves


@pytest.fixture(scope="module")
def run(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    home = tmp_path_factory.mktemp("pmg")
    fewer = {"evaluation__protocols": ["reference"], "evaluation__users": 3, "evaluation__report_users": 1}
    changes = {"generator__system": "pmg", "pmg": {"epochs": 1}, **fewer}
    return open_run(config_file(home, **changes), films, home / "out")


def test_the_demo_goes_through_every_step(run: Experiment, capsys: pytest.CaptureFixture[str]) -> None:
    """One epoch of 21 people in batches of 16 are two steps; no warm start is made, and the page names no reward."""
    pipeline.demo(run)
    of_the_generator = {
        "encoder",
        "backbone",
        "language",
        "warm-start",
        "generator",
        "pmg",
        "images",
        "results",
        "report",
    }
    ran = [name for name in run.store.ran if name in of_the_generator]
    assert ran == ["encoder", "backbone", "language", "pmg", "images", "results", "report"]
    out = capsys.readouterr().out
    assert "the best of 3, 2 sampling steps; small on purpose." in out
    assert re.search(r"^PMG +-?0\.", out, flags=re.MULTILINE)
    frame = run.results.frame
    assert set(frame["system"]) == {"PMG"}
    assert set(frame[frame["protocol"] == "generator"]["control"]) == {OWN, "reference_image", "shuffled_user"}
    page = (run.output / "report.html").read_text()
    assert "gave the reward" not in page
    assert "what counted stands out" in page
    assert [step for step, _ in read_curves(run.system.curve_folders[-1])["PMG: loss"]] == [0, 1]


def test_a_picture_is_the_same_whatever_the_batch(run: Experiment) -> None:
    system, requests = run.system, run.drawn.requests()[:5]
    assert isinstance(system, System)
    pictures = system.batched(4).generate(requests)
    assert torch.equal(system.batched(4).generate(requests[3:]), pictures[3:])
    first = system.explain(requests)[0]  # type: ignore[index]
    assert first.retrieved == requests[0].history[-6:]
    assert first.weights == pytest.approx((1 / 6,) * 6)
    assert len(first.keywords) <= 8


def test_it_counts_by_what_it_learns_from_and_not_by_the_ranker(run: Experiment) -> None:
    """Another ranker on the same interactions trains no other PMG; another seed does, for the same people."""
    system = run.system
    assert isinstance(system, PmgSystem)
    assert run.systems.pmg(run.new_ranker(seed=2021)).folder == system.folder
    other = run.systems.pmg(run.ranker, seed=5)
    assert other.key != system.key
    assert other.people == system.people
    assert PmgSystem.__dataclass_fields__["ranker"].metadata == INCIDENTAL
    assert not system.learned_from_ranker
