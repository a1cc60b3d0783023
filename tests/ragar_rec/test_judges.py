"""Two rankers on two encoders, two trainings: tables, verdict, and all of it again from the Parquet files alone."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from film_world import config_file, film_folder, open_run
from generation.pictures import to_float
from generation.rewards.personal import Personal
from ragar_rec import pipeline
from ragar_rec.experiment import Experiment
from ragar_rec.stages.everybody import EverybodySystem
from ragar_rec.store.curves import read_curves
from ragar_rec.studies.delta_r import delta_r

RESAMPLES = 50
JUDGE = "--judges.other={model: VBPR, image_encoder: hog, seed: 7}"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    folder = tmp_path_factory.mktemp("judged")
    overrides = [JUDGE, "--judges.shuffles=2", "--evaluation.training_seeds=[0, 1]"]
    found = Experiment.open(
        config_file(folder), overrides, film_folder(folder / "raw"), None, folder / "output", progress=False
    )
    pipeline.report(found)
    return found


@pytest.fixture(scope="module")
def files(run: Experiment) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]:
    """results.json, and the two Parquet files that it follows from."""
    tree = json.loads((run.output / "results.json").read_text())
    return tree, pd.read_parquet(run.output / "per_user.parquet"), pd.read_parquet(run.output / "ownership.parquet")


def test_a_generator_is_rewarded_by_one_ranker_and_scored_by_two(run: Experiment, tmp_path: Path) -> None:
    """The ranker that rewards is that of the run above."""
    output = tmp_path / "output"
    shutil.copytree(run.output, output)
    run = open_run(config_file(tmp_path), run.workspace.data or Path(), output)
    reward, judge = run.ranker, run.new_ranker(image_encoder="hog", seed=2021)
    system = run.systems.ragar(reward, seed=1)
    requests = system.training_requests[:4]
    pictures = system.generator.generate(requests)
    by_reward, by_judge = (ranker.reward(requests, pictures) for ranker in (reward, judge))
    assert (reward.label, judge.label) == ("MICRO on dual", "MICRO on hog")
    assert (reward.dataset.config["seed"], judge.dataset.config["seed"]) == (2020, 2021)
    assert reward.dataset.digest() == judge.dataset.digest()  # the same split
    assert torch.isfinite(by_reward).all()
    assert torch.isfinite(by_judge).all()
    assert not torch.allclose(by_reward, by_judge)
    drawn = run.judging.new_drawn(system, [reward, judge])
    frame = run.judging.new_results(drawn).frame
    assert set(frame["judge"]) == {reward.label, judge.label}
    # There are hog's features, for the judge of another seed, and the warm start of the second training.
    assert sorted(run.store.ran) == ["generator", "images", "ranker", "results"]


def test_every_training_has_rankers_and_a_generator_of_its_own(run: Experiment) -> None:
    first, second = run.judging.results
    assert [list(results.judges) for results in (first, second)] == [["MICRO on dual", "VBPR on hog"]] * 2
    seeds = [[judge.dataset.config["seed"] for judge in results.judges.values()] for results in (first, second)]
    assert seeds == [[2020, 7], [2021, 8]]
    assert first.system.content != second.system.content
    assert run.store.ran.count("generator") == run.store.ran.count("warm-start") == 2
    assert run.store.ran.count("backbone") == run.store.ran.count("encoder") == 1
    # Two judges of two trainings, and the first two twice more on shuffled pictures.
    assert run.store.ran.count("ranker") == 8
    assert first.drawn.setting(first.judges["VBPR on hog"], 0).people == second.drawn.setting(run.ranker, 0).people


def test_the_whole_table_follows_from_the_parquet_files(files: tuple[Any, pd.DataFrame, pd.DataFrame]) -> None:
    """Values, intervals, p-values and stars, by pandas and scipy alone; medians and means, one training and two."""
    tree, frame, ownership = files
    rows = tree["rows"]
    assert len(rows) > 100
    for row in rows:
        differences = users_of(frame, row, row["control"])
        if row["compared_with"]:
            differences = differences - users_of(frame, row, row["compared_with"])
        statistic = np.median if row["metric"].endswith("median") else np.mean
        means = differences.to_numpy().mean(axis=1)
        assert row["value"] == pytest.approx(statistic(means), abs=1e-12)
        assert (row["users"], row["training_seeds"]) == differences.shape
        low, high, p = interval_and_p(differences.to_numpy(), statistic, 0.95)
        assert (row["low"], row["high"]) == pytest.approx((low, high), abs=1e-9)
        if differences.shape[1] == 2:
            by_seed = statistic(differences.to_numpy(), axis=0)
            assert row["spread"] == pytest.approx(abs(by_seed[0] - by_seed[1]) / np.sqrt(2))
        if row["compared_with"] == "permuted_owners":
            assert row["p"] == pytest.approx(ownership_p(frame, ownership, row))
        elif row["compared_with"]:
            assert row["p"] == pytest.approx(p, abs=1e-9)
        if row["compared_with"]:
            # The difference that a two-sided test at .05 finds with a probability of .8.
            assert row["visible"] == pytest.approx(
                (1.959964 + 0.841621) * error_of(differences.to_numpy(), statistic)[0]
            )
    assert [row["significant"] for row in rows] == stars(rows)
    cells = frame[["system", "protocol", "judge", "metric", "control"]].drop_duplicates()
    assert set(map(tuple, cells.to_numpy().tolist())) == {
        tuple(row[name] for name in cells) for row in rows if not row["metric"].endswith("median")
    }


def test_the_verdict_follows_from_the_files(files: tuple[Any, pd.DataFrame, pd.DataFrame]) -> None:
    """The rules once more, in their order, at an alpha of .01, from people's numbers and the permutations."""
    tree, frame, ownership = files
    reward, judge = "MICRO on dual", "VBPR on hog"

    def paired(protocol: str, other: str, judge: str, system: str = "RAGAR") -> tuple[float, float, float, float]:
        """Mean, interval of 99 % and p-value of own less another control."""
        row = {"system": system, "protocol": protocol, "judge": judge, "metric": "ndcg@10"}
        values = (users_of(frame, row, "own") - users_of(frame, row, other)).to_numpy()
        return values.mean(), *interval_and_p(values, np.mean, 0.99)

    def personal(name: str) -> bool:
        cell = {"system": "RAGAR", "protocol": "candidates", "judge": name, "metric": "ndcg@10"}
        value, *_, p = paired("candidates", "shuffled_user", name)
        return ownership_p(frame, ownership, cell) <= 0.01 and value > 0 and p <= 0.01

    value, low, high, p = paired("candidates", "original", reward)
    _, reference_low, _, reference_p = paired("reference", "original", reward)
    # Holm's steps for two: the smaller at .005, the other at .01 if that is rejected.
    shown = p <= 0.005 or (reference_p <= 0.005 and p <= 0.01)
    reference_shown = reference_p <= 0.005 or (p <= 0.005 and reference_p <= 0.01)
    reads = paired("reading", "trained_on_shuffled", judge, judge)[1] > 0
    by_judge = paired("candidates", "original", judge)
    confirmed = reads and by_judge[1] > 0 and by_judge[3] <= 0.01
    margin = (
        0.05
        * users_of(
            frame, {"system": "RAGAR", "protocol": "candidates", "judge": reward, "metric": "ndcg@10"}, "original"
        )
        .to_numpy()
        .mean()
    )
    rules = {
        "harm": shown and high < 0,
        "personal gain, confirmed": shown and low > 0 and personal(reward) and confirmed and personal(judge),
        "gain for the reward ranker only": shown and low > 0 and not confirmed,
        "gain, not personal": shown and low > 0,
        "gain only where the target is privileged": reference_shown and reference_low > 0,
        "no gain": -margin < low and high < margin,
        "nothing to gain": any(
            finding["numbers"][name]["low"] <= 0
            for finding in tree["diagnosis"]
            for name in {"reading": ["trained on shuffled"], "headroom": ["personal"]}.get(finding["step"], [])
        ),
        "inconclusive": True,
    }
    (verdict,) = tree["verdicts"]
    assert verdict["rule"] == next(rule for rule, holds in rules.items() if holds)
    assert f"{value:+.4f} [{low:+.4f}, {high:+.4f}] (99 % interval)" in verdict["sentence"]


def test_the_report_begins_with_the_verdict(run: Experiment, files: tuple[Any, pd.DataFrame, pd.DataFrame]) -> None:
    page = (run.output / "report.html").read_text()
    (verdict,) = files[0]["verdicts"]
    rule = verdict["rule"][0].upper() + verdict["rule"][1:]
    assert page.index(f'class="rule">{rule}') < page.index('id="results"')
    assert page.count("<details") > 4
    assert page.count('<details class="card" open') == 1


def test_a_judge_rewards_and_the_configs_own_ranker_confirms(run: Experiment, tmp_path: Path) -> None:
    """Rankers, their shuffled twins and the warm start are those of the run above; generator and pictures are not."""
    output = tmp_path / "output"
    shutil.copytree(run.output, output)
    overrides = [JUDGE, "--judges.shuffles=2", "--reflection.ranker=other", "--evaluation.users=4"]
    found = Experiment.open(config_file(tmp_path), overrides, run.workspace.data, None, output, progress=False)
    pipeline.evaluate(found)
    assert {"generator", "images", "results", "diagnosis"} <= set(found.store.ran)
    assert not {"warm-start", "ranker", "features"} & set(found.store.ran)
    (results,) = found.judging.results
    assert list(results.judges) == ["VBPR on hog", "MICRO on dual"]
    assert replace(results, judges=dict(reversed(list(results.judges.items())))).key != results.key
    assert found.system.ranker is found.reward_ranker is results.judges["VBPR on hog"]
    assert found.ranker is results.judges["MICRO on dual"]
    assert found.system.content != run.system.content
    assert found.judging.diagnosis.ranker is found.judging.generator_diagnosis.ranker is found.reward_ranker
    tree = json.loads((output / "results.json").read_text())
    (verdict,) = tree["verdicts"]
    assert verdict["numbers"]["reward"]["judge"] == "VBPR on hog"
    assert [judge["judge"] for judge in verdict["numbers"]["judges"]] == ["MICRO on dual"]
    assert next(row["judge"] for row in tree["rows"] if row["protocol"] == "candidates") == "VBPR on hog"
    # Its lists are the primary endpoint, which no correction touches.
    primary = [row for row in tree["rows"] if row["protocol"] == "candidates" and row["judge"] == "VBPR on hog"]
    own = [row for row in primary if (row["metric"], row["control"]) == ("ndcg@10", "own") and row["compared_with"]]
    chosen = {row["compared_with"]: row for row in own}
    for other in ("original", "permuted_owners"):
        assert chosen[other]["significant"] == (chosen[other]["p"] <= 0.05)
    answers = {finding["step"]: finding["answer"] for finding in tree["diagnosis"]}
    assert answers["reach"] == "Left out: the score by VBPR on hog has no gradient in pictures."


def test_a_personal_reward_trains_another_generator(run: Experiment, tmp_path: Path) -> None:
    output, (first, *_) = tmp_path / "output", run.judging.results
    shutil.copytree(run.output, output)

    def opened(*overrides: str) -> Experiment:
        return Experiment.open(
            config_file(tmp_path), [JUDGE, *overrides], run.workspace.data, None, output, progress=False
        )

    found = opened("--reflection.personal=4", "--reflection.ranker=other")
    reward, requests = found.ragar.reward, found.ragar.training_requests[:3]
    assert isinstance(reward, Personal)
    pictures = first.system.generator.generate(requests)
    ranker, expected = found.reward_ranker.reward, []
    for request, picture in zip(requests, pictures, strict=True):
        people = [request, *reward.strangers(request)]
        assert {other.user for other in people} <= {each.user for each in found.ragar.training_requests}
        own, *others = ranker(people, picture.expand(5, -1, -1, -1)).tolist()
        expected.append(own - sum(others) / 4)
    assert reward(requests, pictures).tolist() == pytest.approx(expected, abs=1e-5)
    pipeline.train_generator(found)
    impersonal = opened("--reflection.ranker=other")
    pipeline.train_generator(impersonal)
    assert found.store.ran == impersonal.store.ran == ["generator"]
    assert found.ragar.content != impersonal.ragar.content
    # What is drawn for nobody in particular has no personal part: it is trained for everybody's score.
    assert EverybodySystem.beside(found.ragar).reward is found.reward_ranker.reward
    ranked = opened("--reflection.personal=4", "--reflection.personal_form=rank", "--reflection.ranker=other").ragar
    places = ranked.reward(requests, pictures)
    assert ((places > 0) & (places < 1)).all()
    assert ranked.key != found.ragar.key
    assert EverybodySystem.beside(ranked).key == EverybodySystem.beside(found.ragar).key
    n = len(found.ragar.training_requests)
    crowd = opened(f"--reflection.personal={n}")
    with pytest.raises(ValueError, match=f"personal {n} asks for the scores of {n} other people, .* take 1 to {n - 1}"):
        pipeline.train_generator(crowd)
    assert crowd.store.ran == []


def test_a_reward_of_several_trainings_is_discounted_where_they_disagree(run: Experiment, tmp_path: Path) -> None:
    output, (first, *_) = tmp_path / "output", run.judging.results
    shutil.copytree(run.output, output)
    overrides = [JUDGE, "--reflection.ensemble=2", "--reflection.uncertainty=0.5", "--reflection.personal=3"]
    found = Experiment.open(config_file(tmp_path), overrides, run.workspace.data, None, output, progress=False)
    pipeline.train_generator(found)
    assert sorted(found.store.ran) == ["generator", "ranker"]
    rankers = [found.ranker, *found.ragar.rewards.twins]
    assert [ranker.dataset.config["seed"] for ranker in rankers] == [2020, 3020]
    # Each member is personal: of two numbers the mean, less half of |difference of gains| / sqrt 2.
    requests, people = found.ragar.training_requests[:3], found.ragar.training_requests
    histories = {each.user: each.history for each in people}
    members = [Personal(ranker.reward, histories, 3, found.ragar.training.seed) for ranker in rankers]
    pictures = first.system.generator.generate(requests)
    own = to_float(run.pictures.images[run.pictures.rows([request.reference for request in requests])])
    scores = torch.stack([member(requests, pictures) for member in members])
    gains = scores - torch.stack([member(requests, own) for member in members])
    expected = scores.mean(0) - 0.5 * (gains[0] - gains[1]).abs() / 2**0.5
    torch.testing.assert_close(found.ragar.reward(requests, pictures), expected)
    assert "uncertainty: v_gen" in read_curves(found.ragar.folder)
    # Both say which way a picture should move, and the generator's taste vector is what both say.
    features = found.ranker.original_features.table[1:4]
    directions = [member.direction(requests, features) for member in members]
    expected = F.normalize((directions[0] + directions[1]) / 2, dim=1)
    torch.testing.assert_close(found.ragar.taste.reward.direction(requests, features), expected)
    assert not torch.allclose(directions[0], expected)


def test_the_taste_vector_is_the_way_in_which_the_score_rises_fastest(run: Experiment) -> None:
    """By finite differences of both rankers the score rises along it, and across it less than a fiftieth as fast."""
    requests = run.ragar.training_requests[:4]
    images = to_float(run.pictures.images[run.pictures.rows([request.reference for request in requests])])
    for name, ranker in run.judging.results[0].judges.items():
        reward = ranker.reward
        features = reward.encoder.encode_images(images)
        found = reward.direction(requests, features)
        torch.testing.assert_close(found.norm(dim=1), torch.ones(4))
        users = torch.tensor([ranker.dataset.user_id(request.user) for request in requests])
        items = torch.tensor([ranker.dataset.item_id(request.reference) for request in requests])

        def slope(way: torch.Tensor, view=ranker.view, reward=reward, at=features, users=users, items=items):
            ends = [view.substitute(users, items, at + sign * 1e-3 * way - reward.mean) for sign in (1, -1)]
            return (ends[0] - ends[1]) / 2e-3

        way = torch.randn(found.shape, generator=torch.Generator().manual_seed(0))
        across = F.normalize(way - (way * found).sum(1, keepdim=True) * found, dim=1)
        along = slope(found)
        assert (along > 0).all(), name
        assert (slope(across).abs() < 0.02 * along).all(), name
    unit = run.new_ranker(model="FREEDOM", settings={"edge_weights": "unit"})
    with pytest.raises(ValueError, match="edge_weights is unit: the score changes with the features in steps"):
        unit.reward.direction(requests, unit.reward.encoder.encode_images(images))


@pytest.mark.parametrize("asks", ["taste", "retrieval_taste"])
def test_a_generator_with_tastes_is_measured_before_any_reward(run: Experiment, tmp_path: Path, asks: str) -> None:
    """It asks the ranker that rewards for each person's taste, as the trained one does; one for nobody asks nobody."""
    output = tmp_path / "output"
    shutil.copytree(run.output, output)
    overrides = [JUDGE, f"--generator.{asks}=1", "--evaluation.targets=1"]
    found = Experiment.open(config_file(tmp_path), overrides, run.workspace.data, None, output, progress=False)
    values = delta_r(found, found.ragar.warm.folder, tmp_path / "pictures")
    assert len(values) == 6  # those of 30 people who do not train the generator
    assert (values < 1).all()
    impersonal = EverybodySystem.beside(found.ragar).load(found.ragar.warm.folder)
    assert impersonal.tastes(found.ragar.training_requests) is None


def test_a_taste_by_a_ranker_that_sees_by_another_encoder(run: Experiment, tmp_path: Path) -> None:
    """It lies in the generator's features, and is their covariance with the ranker's scores of the gallery's pictures.

    VBPR's score is linear in features, so that its gradient says the same; `hog` gives pixels no gradient at all.
    """
    output = tmp_path / "output"
    shutil.copytree(run.output, output)
    overrides = [JUDGE, "--reflection.ranker=other", "--generator.taste=1"]
    ragar = Experiment.open(config_file(tmp_path), overrides, run.workspace.data, None, output, progress=False).ragar
    ragar.check()
    gallery, (request, *_) = ragar.components.gallery, ragar.training_requests
    pictures = gallery.images[gallery.pictured]
    with torch.no_grad():
        scores = ragar.reward([request] * len(pictures), to_float(pictures)).double()
    features = gallery.visual[gallery.pictured].double()
    covariance = (scores - scores.mean()) @ (features - features.mean(0))
    found = ragar.taste([request])[0]
    torch.testing.assert_close(found.double(), F.normalize(covariance, dim=0), atol=1e-4, rtol=0)


def test_a_reward_without_gradient_is_refused_before_the_warm_start(run: Experiment, tmp_path: Path) -> None:
    output = tmp_path / "output"
    shutil.copytree(run.output, output)
    overrides = [JUDGE, "--reflection.ranker=other", "--reflection.objective=path"]
    found = Experiment.open(config_file(tmp_path), overrides, run.workspace.data, None, output, progress=False)
    with pytest.raises(NotImplementedError, match="hog features have no gradient"):
        pipeline.train_generator(found)
    assert found.store.ran == []


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("--judges.j={model: MICRO, image_encoder: dual, seed: 1}", "judges.j is the reward's own ranker, MICRO on"),
        ("--evaluation.controls=[original, random_item]", "judges confirm nothing without the controls shuffled_user"),
        ("--judges.j={image_encoder: mobilenetv2_100}", "mobilenetv2_100 needs pretrained weights"),
        ("--features.image=image.npy", "image.npy were made elsewhere: rankers can be trained on them, but new"),
    ],
)
def test_judges_that_could_confirm_nothing_are_refused_first(tmp_path: Path, override: str, sentence: str) -> None:
    raw = film_folder(tmp_path / "raw")
    found = Experiment.open(config_file(tmp_path), [JUDGE, override], raw, None, tmp_path / "output", progress=False)
    np.save(raw / "image.npy", np.eye(24))
    (raw / "image.ids.txt").write_text("\n".join(str(film + 1) for film in range(24)))
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(sentence)):
        found.check_evaluation()
    assert "ranker" not in found.store.ran


def test_the_ranker_that_rewards_may_not_be_the_configs_own(tmp_path: Path) -> None:
    judge = "--judges.twin={model: MICRO, image_encoder: dual, seed: 1}"
    found = Experiment.open(
        config_file(tmp_path), [JUDGE, judge, "--reflection.ranker=twin"], film_folder(tmp_path / "raw"), None, tmp_path
    )
    with pytest.raises(ValueError, match=r"judges\.twin is the config's own ranker, MICRO on dual: give it another"):
        found.check_evaluation()


def test_a_judge_that_was_trained_on_other_data_is_refused(run: Experiment, tmp_path: Path) -> None:
    """People who clicked otherwise, under the same names: their judge would look up other people's histories."""
    other = open_run(config_file(tmp_path), film_folder(tmp_path / "raw", seed=1), tmp_path / "output")
    drawn = run.judging.new_drawn(run.system, [run.ranker, other.new_ranker(image_encoder="hog")])
    with pytest.raises(ValueError, match="MICRO on hog knows other interactions, or another split, than those for whi"):
        drawn.requests()


def test_training_seeds_are_added_to_every_seed(run: Experiment) -> None:
    """The config's reflection has a seed of its own, which no training may meet twice."""
    base = run.config
    trainings = [run.systems.ragar(run.ranker, training_seed=seed) for seed in (0, 1, 2)]
    assert [system.training.seed - base.reflection.seed for system in trainings] == [0, 1, 2]
    assert [system.warm.settings.seed - base.generator.seed for system in trainings] == [0, 1, 2]
    assert len({system.people_seed for system in trainings}) == 1


def users_of(frame: pd.DataFrame, row: dict[str, Any], control: str) -> pd.DataFrame:
    """A row for each user, a column for each training seed: the mean over generation seeds."""
    metric = row["metric"].removesuffix("_median")
    cell = {name: row[name] for name in ("system", "protocol", "judge")} | {"metric": metric, "control": control}
    chosen = frame[np.logical_and.reduce([frame[name] == value for name, value in cell.items()])]
    return chosen.pivot_table(index="user", columns="training_seed", values="value")


def error_of(values: np.ndarray, statistic: Any) -> tuple[float, float, np.ndarray]:
    """Standard error, degrees of freedom and resampled values: the bootstrap over people, and between trainings."""
    n, trainings = values.shape
    means, value = values.mean(axis=1), float(statistic(values.mean(axis=1)))
    drawn = np.full(RESAMPLES, value)
    if np.ptp(means) > 0:
        rng = np.random.default_rng(0)
        options = {"n_resamples": RESAMPLES, "method": "percentile", "random_state": rng, "vectorized": True}
        drawn = stats.bootstrap((means,), statistic, **options).bootstrap_distribution
    people, between, freedom = drawn.std(ddof=1), 0.0, np.inf
    if np.ptp(means) == 0:
        people = 0.0
    if trainings > 1:
        between = np.var(statistic(values, axis=0), ddof=1) / trainings
    error = np.sqrt(people**2 + between)
    if trainings > 1 and error > 0:
        freedom = error**4 / (people**4 / (n - 1) + between**2 / (trainings - 1))
    return float(error), float(freedom), drawn


def interval_and_p(values: np.ndarray, statistic: Any, confidence: float) -> tuple[float, float, float]:
    """Ends and p-value: the bootstrap's; of several trainings a t by the sum of both variances."""
    error, freedom, drawn = error_of(values, statistic)
    value, half = float(statistic(values.mean(axis=1))), (1 - confidence) / 2
    low, high = np.quantile(drawn, [half, 1 - half])
    if values.shape[1] > 1 and error > 0:
        low, high = value + np.array([-1, 1]) * stats.t.ppf(1 - half, freedom) * error
    p = 1.0 if value == 0 else 0.0 if error == 0 else 2 * stats.t.cdf(-abs(value) / error, freedom)
    return float(low), float(high), float(p)


def ownership_p(frame: pd.DataFrame, ownership: pd.DataFrame, row: dict[str, Any]) -> float:
    cell = {name: row[name] for name in ("system", "protocol", "judge", "metric")}
    chosen = ownership[np.logical_and.reduce([ownership[name] == value for name, value in cell.items()])]
    draws = chosen.groupby("draw")["value"].mean()
    assert len(draws) == 1000
    observed = users_of(frame, row, "own").to_numpy().mean()
    return (1 + int((draws >= observed - 1e-12).sum())) / 1001


def stars(rows: list[dict[str, Any]]) -> list[bool | None]:
    """Primary differences by their own p, the others by Holm's steps."""
    primary = [
        row["protocol"] == "candidates"
        and row["judge"] == "MICRO on dual"
        and row["control"] == "own"
        and row["metric"] == "ndcg@10"
        and row["compared_with"] in ("original", "permuted_owners")
        for row in rows
    ]
    found: list[bool | None] = [None if row["p"] is None else row["p"] <= 0.05 for row in rows]
    others = sorted(
        (at for at, row in enumerate(rows) if row["p"] is not None and not primary[at]), key=lambda at: rows[at]["p"]
    )
    kept = True
    for step, at in enumerate(others):
        kept = kept and rows[at]["p"] <= 0.05 / (len(others) - step)
        found[at] = kept
    return found
