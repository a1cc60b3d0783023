import csv
import json
import multiprocessing
import os
import pickle
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import asdict, fields, is_dataclass, replace
from hashlib import sha256
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from markupsafe import escape
from safetensors.torch import save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from film_world import HOLE, TINY, config_file, film_folder, open_run, poster, save_poster
from generation.appearance import commonest_share, palettes
from generation.backbone.backbone import LORA_FILE
from generation.encoders.color_layout import ColorLayoutEncoder
from generation.encoders.hog import HogEncoder
from generation.pictures import read_pictures, to_float
from generation.ragar.fixed_shape import FixedShape
from generation.ragar.preference import Description
from generation.ragar.scoring import path_scores
from generation.request import Request
from generation.reward import Reward
from generation_world import in_float64
from ragar_rec import cli, pipeline
from ragar_rec.config.config import Config
from ragar_rec.evaluation.diversity import diversity_frame
from ragar_rec.evaluation.per_user import COLUMNS, MEASURED, OWN, read_per_user
from ragar_rec.evaluation.results import Results, Row, in_table_order, rows_from_per_user
from ragar_rec.evaluation.reward import RankerReward
from ragar_rec.experiment import Experiment
from ragar_rec.stages import models
from ragar_rec.stages import ragar as ragar_module
from ragar_rec.stages.appearances import appearances
from ragar_rec.stages.models import UNetTraining
from ragar_rec.store.curves import read_curves
from ragar_rec.store.hashing import hash_file
from ragar_rec.store.shards import ImageShards
from ragar_rec.store.store import content
from recsys.distributed import run_on_first_process
from recsys.features import FeatureTable
from recsys.recbole.keys import with_ranker
from recsys.recbole.models import full_scores
from recsys.scoring.counterfactual import Counterfactual

STAGES = [
    "data",
    "pictures",
    "encoder",
    "features",
    "ranker",
    "backbone",
    "language",
    "warm-start",
    "generator",
    "images",
    "results",
    "report",
]
BASELINE = "baseline"
"""What `train-ranker` compares the ranker with, three of them; `ran` leaves them out."""
DIAGNOSES = {"shuffled-features", "diagnosis", "generator-diagnosis"}
"""What results and report read beside the pictures; `ran` leaves them out, and the shuffled ranker with them."""


def ran(run: Experiment) -> list[str]:
    """Names of the stages that were built, sorted, each once, without the baselines and the diagnoses."""
    return sorted(set(run.store.ran) - {BASELINE, *DIAGNOSES})


class World(NamedTuple):
    """One finished run: its raw data, config and output, and what the generator was trained on."""

    data: Path
    config: Path
    output: Path
    run: Experiment
    requests: list[Request]
    ranker_before: str
    ranker_after: str

    def again(self, *, data: Path | None = None, output: Path | None = None) -> Experiment:
        """The same run by another process, as far as it can tell."""
        return open_run(self.config, data or self.data, output or self.output)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    home = tmp_path_factory.mktemp("world")
    data, config, output = film_folder(home / "raw"), config_file(home), home / "output"
    run, asked = open_run(config, data, output), []
    seen: dict[str, str] = {}

    def watched(ragar: Any, requests: list[Request], *rest: Any, **named: Any) -> None:
        asked.extend(requests)
        seen["before"] = weights(run)
        reflect(ragar, requests, *rest, **named)
        seen["after"] = weights(run)

    reflect = ragar_module.reflect
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ragar_module, "reflect", watched)
        pipeline.demo(run)
    return World(data, config, output, run, asked, seen["before"], seen["after"])


def weights(run: Experiment) -> str:
    """Hashes of the ranker on disk and of the one in memory."""
    memory = torch.cat([value.flatten() for value in run.ranker.trained.ranker.state_dict().values()])
    return f"{hash_file(run.ranker.folder / 'ranker.safetensors')} {sha256(memory.numpy().tobytes()).hexdigest()}"


@pytest.fixture
def copy(world: World, tmp_path: Path) -> World:
    """A world to do damage in: raw data elsewhere, the store taken along."""
    shutil.copytree(world.output, tmp_path / "output")
    return world._replace(output=tmp_path / "output")


def test_every_stage_ran_once_in_order(world: World):
    assert ran(world.run) == sorted(STAGES)
    assert world.run.store.ran.count(BASELINE) == 3
    assert [world.run.store.ran.count(name) for name in sorted(DIAGNOSES)] == [1, 1, 1]
    assert len(world.run.store.seconds()) == len({*STAGES, *DIAGNOSES, BASELINE})


def test_results_can_be_recomputed_from_the_people(world: World):
    """Every row of results.json from per_user.parquet and ownership.parquet, to the last digit."""
    tree = json.loads((world.output / "results.json").read_text())
    assert set(tree) == {"rows", "verdicts", "run", "diagnosis"}
    assert [verdict["system"] for verdict in tree["verdicts"]] == ["RAGAR"]
    assert all(list(row) == [field.name for field in fields(Row)] for row in tree["rows"])
    frame = read_per_user(world.output / "per_user.parquet")
    assert tuple(frame.columns) == COLUMNS
    ownership = pd.read_parquet(world.output / "ownership.parquet")
    again = rows_from_per_user(in_table_order(frame), "ml-latest", ownership=ownership, resamples=50)
    assert [asdict(row) for row in again] == tree["rows"]
    assert Results.read(world.output / "results.json").rows == again


def test_results_hold_every_protocol_and_control_for_the_whole_sample(world: World):
    frame = read_per_user(world.output / "per_user.parquet")
    found = {key: set(group["control"]) for key, group in frame.groupby("protocol")}
    controls = {OWN, "original", "reconstruction", "shuffled_user", "permuted_owners", "random_item"}
    assert found == {
        "candidates": controls,
        "reference": controls,
        "generator": {OWN, "reference_image", "global", "untrained", "shuffled_user"},
        "diversity": {OWN, "seeds"},
    }
    ranked = frame[frame["protocol"].isin(["candidates", "reference"])]
    sizes = ranked.groupby(["control", "protocol", "metric"]).size()
    drawn = ranked.query("control == 'random_item'")
    assert set(sizes.drop("random_item")) == {6}
    assert set(sizes["random_item"]) == {6 * 20}
    assert set(drawn["seed"]) == set(range(20))
    ranks = drawn.query("metric == 'delta_r'").groupby(["protocol", "user"])["value"].nunique()
    assert (ranks > 1).mean() > 0.5  # most people's ranks depend on the draw
    lists = ranked[ranked["metric"] != "delta_r"]
    assert set(lists[lists["control"] == "permuted_owners"]["metric"]) == {"recall@10", "ndcg@10"}
    assert set(frame["judge"]) == {"MICRO on dual"}
    original = frame[(frame["control"] == "original") & (frame["metric"] == "delta_r")]
    assert set(original["value"]) == {0.0}


def test_the_report_is_one_file(world: World):
    page = (world.output / "report.html").read_text()
    sources = re.findall(r"""(?:src|href)\s*=\s*["']([^"'#][^"']*)""", page)
    assert sum(source.startswith("data:image/") for source in sources) >= 6
    assert not [source[:60] for source in sources if not source.startswith("data:")]
    assert not re.findall(r"url\((?!data:|#)|@import", page)


def test_the_generator_was_trained_on_training_interactions_of_other_people(world: World):
    """What reflection was given: nobody kept for judging, no item of validation or test, and the hole never."""
    run, dataset = world.run, world.run.ranker.dataset
    assert len(world.requests) == 21
    assert {dataset.user_id(request.user) for request in world.requests} == set(run.ragar.people.train)
    held_out = {
        (str(dataset.user_tokens[user]), str(dataset.item_tokens[item]))
        for users, items in (dataset.interactions.valid, dataset.interactions.test)
        for user, item in zip(users, items, strict=True)
    }
    assert len(held_out) == 60
    asked = {(request.user, item) for request in world.requests for item in (*request.history, request.reference)}
    assert not asked & held_out
    assert HOLE not in {request.reference for request in world.requests}


def test_the_ranker_is_bit_identical_after_generator_training(world: World):
    assert world.ranker_before == world.ranker_after == weights(world.run)


def test_a_second_run_reuses_every_stage(world: World, capsys):
    before = (world.output / "results.json").read_text()
    run = world.again()
    pipeline.demo(run)
    assert run.store.ran == []
    assert set(run.store.reused) == {*STAGES, *DIAGNOSES, BASELINE}
    after = (world.output / "results.json").read_text()
    assert json.loads(before)["rows"] == json.loads(after)["rows"]
    assert "Protocol candidates on ml-latest" in capsys.readouterr().out


@pytest.fixture
def pixels(copy: World) -> Iterator[Callable[[tuple[int, int]], None]]:
    """A function that changes one pixel of poster 3 (JPEG spreads it over its block of 8 x 8); undone afterwards."""
    file = copy.data / "posters" / "3.jpg"
    before = file.read_bytes()

    def change(at: tuple[int, int]) -> None:
        picture = poster(2)
        picture.putpixel(at, (255, 0, 255))
        save_poster(picture, file)

    yield change
    file.write_bytes(before)


def test_one_pixel_of_one_poster_runs_exactly_what_depends_on_it(
    copy: World, pixels: Callable[[tuple[int, int]], None]
):
    """All but `data`: the tables and the list of posters are the same. With the old pixel nothing runs."""
    before = (copy.data / "posters" / "3.jpg").read_bytes()
    pixels((16, 20))
    run = copy.again()
    pipeline.report(run)
    assert ran(run) == sorted(set(STAGES) - {"data"})
    (copy.data / "posters" / "3.jpg").write_bytes(before)
    run = copy.again()
    pipeline.report(run)
    assert run.store.ran == []


def test_a_pixel_that_nobody_reads_decodes_the_pictures_again_and_no_more(
    copy: World, pixels: Callable[[tuple[int, int]], None]
):
    """Posters are 32 x 48, the generator sees the middle 32 x 32: rows 8 to 39. The changed block is rows 0 to 7."""
    pixels((16, 2))
    run = copy.again()
    pipeline.report(run)
    assert run.store.ran == ["pictures"]


def test_a_title_runs_all_that_reads_the_catalogues_texts(copy: World) -> None:
    """Captions name no title, but the language model and text features read it: every model is trained again."""
    movies = copy.data / "movies.csv"
    before = movies.read_text()
    movies.write_text(before.replace("Story 3 (", "Another story (").replace("Western", "Musical"))
    try:
        run = copy.again()
        pipeline.train_generator(run)
    finally:
        movies.write_text(before)
    assert ran(run) == sorted(set(STAGES) - {"images", "results", "report"})


def test_an_encoder_with_weights_of_its_own_reads_the_files(
    copy: World, tmp_path: Path, pixels: Callable[[tuple[int, int]], None]
):
    """The same block is seen by an encoder that gets the whole poster; other weights are another encoder."""
    name = "mobilenetv2_100"
    (tmp_path / name).mkdir()
    weights = tmp_path / name / "model.safetensors"
    save_file(timm.create_model(name).state_dict(), weights)
    config = config_file(tmp_path, features__image_encoder=name, features__image_height=48, features__image_width=32)

    def ran() -> list[str]:
        run = Experiment(Config.read(config), copy.output, data=copy.data, weights=tmp_path, progress=False)
        _ = run.features.folder
        return run.store.ran

    assert ran() == ["features"]
    assert ran() == []
    pixels((16, 2))
    assert ran() == ["pictures", "features"]
    save_file(timm.create_model(name).state_dict(), weights)
    assert ran() == ["features"]


def test_hog_reads_the_files_and_needs_no_weights(
    copy: World, tmp_path: Path, pixels: Callable[[tuple[int, int]], None]
):
    """Another encoder, other features; the catalogue's mean is removed from them."""
    config = config_file(tmp_path, features__image_encoder="hog", features__image_height=48, features__image_width=32)

    def opened() -> Experiment:
        return open_run(config, copy.data, copy.output)

    run = opened()
    table = FeatureTable.read(run.features.folder / "image.safetensors")
    assert run.store.ran == ["features"]
    assert (len(table.ids), table.values.shape[1]) == (23, run.features.encoder.dim)
    first = run.features.encoder.encode_images(read_pictures(run.pictures.items[:1], (48, 32)).float() / 255)
    torch.testing.assert_close(torch.from_numpy(table.values[:1]) + run.features.mean, first)
    assert "hog" in run.ranker.label
    pixels((16, 2))
    again = opened()
    _ = again.features.folder
    assert again.store.ran == ["pictures", "features"]


def test_color_layout_is_read_from_the_files(copy: World, tmp_path: Path) -> None:
    run = open_run(config_file(tmp_path, features__image_encoder="color_layout"), copy.data, copy.output)
    assert isinstance(run.features.encoder, ColorLayoutEncoder)
    size = run.features.image.height, run.features.image.width  # type: ignore[union-attr]
    table = FeatureTable.read(run.features.folder / "image.safetensors")
    first = ColorLayoutEncoder().encode_images(to_float(read_pictures(run.pictures.items[:1], size)))
    torch.testing.assert_close(torch.from_numpy(table.values[:1]) + run.features.mean, first)


def test_features_made_elsewhere_train_a_ranker_and_no_generator(copy: World, tmp_path: Path):
    """A matrix for 20 of the 24 films: four holes. Its content counts, tokens included, and pictures do not."""
    rows = np.random.default_rng(0).normal(size=(20, 5))
    np.save(tmp_path / "image.npy", rows)
    tokens = tmp_path / "image.ids.txt"
    tokens.write_text("\n".join(str(film + 1) for film in range(20)))
    config = config_file(tmp_path, features__image=str(tmp_path / "image.npy"))

    def opened() -> Experiment:
        return open_run(config, copy.data, copy.output)

    run = opened()
    ranker = run.ranker.trained.ranker
    assert run.store.ran == ["features", "ranker"]
    assert ranker.features("image").shape == (25, 5)
    there = [run.ranker.dataset.item_tokens[item] for item in ranker.present[0].nonzero().flatten()]
    assert sorted(map(int, there)) == list(range(1, 21))
    row = ranker.features("image")[run.ranker.dataset.item_id("7")]
    torch.testing.assert_close(row, torch.from_numpy(rows[6]).float())
    with pytest.raises(ValueError, match=r"image\.npy were made elsewhere: .*new pictures cannot be encoded"):
        pipeline.train_generator(run)
    tokens.write_text("\n".join(str(film + 1) for film in reversed(range(20))))
    again = opened()
    _ = again.ranker.folder
    assert again.store.ran == ["features", "ranker"]


def test_whitened_image_features_of_the_catalogue_and_of_new_pictures(copy: World, tmp_path: Path):
    """Mean square norm 1, uncorrelated components of variance 1/4; the map is kept, new pictures pass through it, and
    the reward has a gradient in their pixels.
    """
    config = config_file(tmp_path, features__whiten=4)
    run = open_run(config, copy.data, copy.output)
    table = FeatureTable.read(run.features.file("image"))
    assert run.store.ran == ["features"]
    assert table.values.shape == (23, 4)
    np.testing.assert_allclose(table.values.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(table.values.T @ table.values / 23, np.eye(4) / 4, atol=1e-3)
    assert run.features.whitening is not None and run.features.whitening.shape == (run.encoder.model.dim, 4)
    reward = run.ranker.reward
    images = to_float(run.pictures.images[run.pictures.pictured_rows[:3]]).requires_grad_()
    torch.testing.assert_close(reward.features(images), torch.from_numpy(table.values[:3]), atol=1e-3, rtol=1e-3)
    (gradient,) = torch.autograd.grad(reward.features(images).square().sum(), images)
    assert gradient.abs().sum() > 0
    with pytest.raises(ValueError, match=r"the ranker reads 4 features a picture, .* gives 16"):
        RankerReward(run.ranker.view, run.ranker.dataset, run.encoder.model, run.features.mean)
    other = open_run(config_file(tmp_path, features__whiten=3), copy.data, copy.output)
    _ = other.features.folder
    assert other.store.ran == ["features"]


def test_without_whitening_there_is_no_map(world: World):
    assert world.run.features.whitening is None
    assert not (world.run.features.folder / "whitening.safetensors").exists()


def test_whitened_features_made_elsewhere_keep_their_holes(copy: World, tmp_path: Path):
    """20 rows of which one is zeros: whitening is of 19 rows, and the twentieth item stays a hole."""
    rows = np.random.default_rng(0).normal(size=(20, 5)) * [9, 1, 1, 0.1, 1] + 3
    rows[6] = 0
    np.savez(tmp_path / "made.npz", ids=np.array([str(film + 1) for film in range(20)]), values=rows)
    run = open_run(
        config_file(tmp_path, features__image=str(tmp_path / "made.npz"), features__whiten=3), copy.data, copy.output
    )
    table = FeatureTable.read(run.features.file("image"))
    assert len(table.ids) == 19 and "7" not in table.ids
    np.testing.assert_allclose(table.values.T @ table.values / 19, np.eye(3) / 3, atol=1e-4)
    ranker = run.ranker.trained.ranker
    assert not ranker.present[0, run.ranker.dataset.item_id("7")]
    with pytest.raises(
        ValueError, match=r"features\.whiten: whitening to 6 components was asked for, but 19 rows of 5"
    ):
        _ = open_run(
            config_file(tmp_path, features__image=str(tmp_path / "made.npz"), features__whiten=6),
            copy.data,
            copy.output,
        ).features.folder


def test_a_relative_feature_table_lies_in_the_data_or_in_the_working_directory(tmp_path: Path, monkeypatch):
    """Film 1 has (1, 0) in the data folder's table, (2, 0) in the other; the stage follows content, not the path."""
    data, here = film_folder(tmp_path / "raw"), tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for file, value in ((here / "made.npz", 2.0), (data / "made.npz", 1.0), (tmp_path / "same.npz", 1.0)):
        np.savez(file, ids=np.array(["1"]), values=np.array([[value, 0.0]]))

    def first(named: str) -> tuple[list[float], list[str]]:
        run = open_run(config_file(tmp_path, features__image=named), data, tmp_path / "output")
        return FeatureTable.read(run.features.folder / "image.safetensors").values[0].tolist(), run.store.ran

    assert first("made.npz") == ([1.0, 0.0], ["data", "features"])
    assert first(str(tmp_path / "same.npz")) == ([1.0, 0.0], [])
    assert first(str(here / "made.npz")) == ([2.0, 0.0], ["features"])
    (data / "made.npz").unlink()
    assert first("made.npz") == ([2.0, 0.0], [])


def test_features_that_are_named_but_absent(world: World, tmp_path: Path, capsys):
    arguments = [f"--config={world.config}", f"--data={world.data}", f"--output={tmp_path}"]
    assert cli.main(["train-ranker", *arguments, f"--features.image={tmp_path / 'gone.npy'}"]) == 2
    assert f"no feature table at {tmp_path / 'gone.npy'}" in capsys.readouterr().err


def test_mmrecs_folder_from_the_command_line(tmp_path: Path, capsys):
    """Twelve people with five interactions, of which the file says which are test; the tables are the features."""
    rng, raw = np.random.default_rng(0), tmp_path / "raw"
    raw.mkdir()
    rows = [(u, i, int(x)) for u in range(12) for i, x in zip(rng.permutation(15)[:5], "00012", strict=True)]
    (raw / "baby.inter").write_text("userID\titemID\tx_label\n" + "".join(f"{u}\t{i}\t{x}\n" for u, i, x in rows))
    np.save(raw / "image_feat.npy", rng.normal(size=(15, 6)))
    np.save(raw / "text_feat.npy", rng.normal(size=(15, 4)))
    config = config_file(tmp_path, dataset="baby", catalog__preparer="mmrec", eval_args={"split": {"LABEL": "x_label"}})
    for step in ("prepare", "train-ranker"):
        assert cli.main([step, f"--config={config}", f"--data={raw}", f"--output={tmp_path / 'out'}"]) == 0
    out = capsys.readouterr().out
    assert "12 users, 15 items, 60 interactions" in out
    assert "MICRO on validation: recall@10" in out
    run = open_run(config, raw, tmp_path / "out")
    test = {
        (str(run.ranker.dataset.user_tokens[u]), str(run.ranker.dataset.item_tokens[i]))
        for u, i in zip(*run.ranker.dataset.interactions.test, strict=True)
    }
    assert test == {(str(u), str(i)) for u, i, x in rows if x == 2}
    assert run.store.ran == []


@pytest.mark.parametrize(
    ("first", "changes", "stages"),
    [
        (
            lambda run: run.report(Results(rows=())),
            {"use_gpu": True, "evaluation__report_users": 3, "evaluation__resamples": 3},
            {"report"},
        ),
        (lambda run: run.drawn, {"evaluation__users": 3, "evaluation__batch_size": 3}, {"images", "results", "report"}),
        (
            lambda run: run.ragar,
            {"reflection__reward_steps": 3},
            {"generator", "images", "results", "generator-diagnosis", "report"},
        ),
        (lambda run: run.judging.generator_diagnosis, {"diagnosis__steps": 3}, {"generator-diagnosis", "report"}),
    ],
)
def test_changed_keys_run_what_reads_them(copy: World, tmp_path: Path, first, changes, stages):
    """Each key alone changes the first of the stages; the report is made anew even where nobody's numbers changed."""
    before = first(copy.again()).key
    for key, value in changes.items():
        assert first(open_run(config_file(tmp_path, **{key: value}), copy.data, copy.output)).key != before, key
    run = open_run(config_file(tmp_path, **changes), copy.data, copy.output)
    pipeline.report(run)
    assert set(run.store.ran) == stages
    assert run.ranker.trained.ranker.device.type == "cpu"
    assert run.ranker.dataset.config["use_gpu"] is False


def test_the_generators_diagnosis_is_in_results_and_report(world: World) -> None:
    """Six people are held out, three of them are optimised for; the score of each bar is that of its picture."""
    run = world.again()
    frame, system = run.judging.generator_diagnosis.frame, run.system
    gains = {key: rows.set_index("user")["value"] for key, rows in frame.groupby(["step", "subject"])}
    assert {key: len(rows) for key, rows in gains.items()} == {
        ("reach", "own"): 3,
        ("reach", "stranger"): 3,
        ("learned", "own"): 6,
        ("learned", "stranger"): 6,
        ("codec", "own"): 6,
    }
    # Learned: what the protocol `generator` of the tables says of the same people.
    scores = read_per_user(world.output / "per_user.parquet").query("protocol == 'generator'")
    by_control = {control: rows.set_index("user")["value"] for control, rows in scores.groupby("control")}
    for subject, control in (("own", OWN), ("stranger", "shuffled_user")):
        expected = by_control[control] - by_control["reference_image"]
        pd.testing.assert_series_equal(
            gains["learned", subject].sort_index(), expected.sort_index(), atol=1e-5, rtol=0, check_names=False
        )
    # The first picture of the optimisation is v_gen, and the best is kept.
    reached = gains["reach", "own"]
    assert (reached >= gains["learned", "own"][reached.index] - 1e-3).all()
    (request,) = (r for r in run.judging.generator_diagnosis.requests if r.user == frame["user"].iloc[0])
    own = to_float(system.pictures.images[system.pictures.rows([request.reference])])
    with torch.no_grad():
        given_back = run.ragar.reconstruct([request.reference])
        cost = run.ranker.reward([request], given_back) - run.ranker.reward([request], own)
    assert gains["codec", "own"][request.user] == pytest.approx(float(cost), abs=1e-4)
    tree = json.loads((world.output / "results.json").read_text())
    steps = [finding["step"] for finding in tree["diagnosis"]]
    assert steps == [
        "reading",
        "baselines",
        "headroom",
        "retrieval",
        "reach",
        "learned",
        "codec",
        "equal treatment",
        "power",
    ]
    page = (world.output / "report.html").read_text()
    assert all(str(escape(finding["question"])) in page for finding in tree["diagnosis"])
    assert "what it learned to draw" in page  # a bar of the waterfall
    assert "commonest palette" in page and "Commonest palette" in page  # the table, and the curves


def test_the_diagnosis_of_a_generator_by_command(copy: World, tmp_path: Path, capsys) -> None:
    """The same findings as in the report; without a step that is left out, the reason stands in its place."""
    config = config_file(tmp_path, diagnosis__optimised=0)
    arguments = [f"--config={config}", f"--data={copy.data}", f"--output={copy.output}"]
    assert cli.main(["diagnose", "--generator", *arguments]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "What can the generator draw? Left out: `diagnosis.optimised` is 0." in said
    assert "What did the generator learn? For 6 people whom it was not trained on" in said
    frame = pd.read_parquet(copy.output / "diagnosis.parquet")
    assert {"reading", "headroom", "learned", "codec"} <= set(frame["step"])
    assert "reach" not in set(frame["step"])


def test_how_evaluated_pictures_look_beside_their_references(world: World) -> None:
    """Means over each person's pictures, then over the six people; palettes of all pictures together."""
    run = world.again()
    drawn, pictures = run.results.drawn, run.pictures
    found = {row.name: row for row in appearances(drawn, run.config.evaluation)}
    assert list(found) == ["brightness", "saturation", "colour entropy", "edge density", "commonest palette"]
    means: dict[str, list[tuple[float, float]]] = {}
    items = []
    for name in drawn.shards.ids:
        user, item = json.loads(name)[:2]
        items.append(item)
        both = (drawn.shards.read([name])[0], to_float(pictures.images[pictures.rows([item])])[0])
        luma = [float(0.299 * p[0].mean() + 0.587 * p[1].mean() + 0.114 * p[2].mean()) for p in both]
        means.setdefault(user, []).append((luma[0], luma[1]))
    people = np.array([np.mean(values, axis=0) for values in means.values()])
    brightness = found["brightness"]
    assert (brightness.generated, brightness.reference) == pytest.approx(tuple(people.mean(0)), abs=1e-5)
    assert brightness.difference is not None
    assert brightness.difference.value == pytest.approx(float(np.subtract(*people.T).mean()), abs=1e-5)
    assert brightness.difference.n == len(people) == 6
    expected = commonest_share(palettes(to_float(pictures.images[pictures.rows(items)])))
    assert found["commonest palette"].reference == pytest.approx(expected)
    assert found["commonest palette"].difference is None


def test_a_catalogue_too_small_for_a_diagnosis_is_evaluated_without_one(copy: World, tmp_path: Path, caplog) -> None:
    run = open_run(config_file(tmp_path, diagnosis__pictures=100), copy.data, copy.output)
    pipeline.report(run)
    assert "no diagnosis in results and report: diagnosis.pictures asks for 100, but only 23 items" in caplog.text
    assert json.loads((copy.output / "results.json").read_text())["diagnosis"] == []
    assert 'id="diagnosis"' not in (copy.output / "report.html").read_text()


def test_the_same_ranker_trained_again_runs_nothing_else(copy: World):
    """Its weights are those of before, though its epochs took other seconds."""
    shutil.rmtree(copy.output / "store" / copy.run.ranker.folder.name)
    run = copy.again()
    pipeline.report(run)
    assert run.store.ran == ["ranker"]


def test_ctrl_c_in_a_stage_keeps_the_finished_ones_and_the_next_run_continues(
    world: World, tmp_path: Path, monkeypatch, capsys
):
    """Stopped twice; models and tables are made anew, and people have the world's numbers to the last digit."""

    def stopped(*given: Any, **named: Any) -> None:
        raise KeyboardInterrupt

    arguments = ["evaluate", f"--config={world.config}", f"--data={world.data}", f"--output={tmp_path}"]
    for module, stage, finished in (
        (models, "train_dual_encoder", ["data", "pictures"]),
        (ragar_module, "reflect", STAGES[:8]),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, stage, stopped)
            assert cli.main(arguments) == 130
        assert "run the same command to continue" in capsys.readouterr().err
        entries = [path for path in (tmp_path / "store").iterdir() if path.suffix != ".partial"]
        there = sorted(entry.name.rpartition("-")[0] for entry in entries)
        assert [name for name in there if name and not name.startswith(".")] == sorted(finished)
        assert not (tmp_path / "results.json").exists()
    run = world.again(output=tmp_path)
    pipeline.evaluate(run)
    # The ranker on shuffled pictures, for the diagnosis, is trained in any case.
    assert ran(run) == sorted({*STAGES[8:], "ranker"} - {"report"})
    assert (tmp_path / "per_user.parquet").read_bytes() == (world.output / "per_user.parquet").read_bytes()
    assert read_per_user(tmp_path / "per_user.parquet").equals(read_per_user(world.output / "per_user.parquet"))


def test_pretrain_makes_what_train_generator_reuses(world: World, tmp_path: Path, capsys):
    """The same bits as in the demo; the next command trains neither dual encoder nor UNet."""
    run = world.again(output=tmp_path)
    pipeline.pretrain(run)
    assert run.store.ran == [*STAGES[:3], "backbone"]
    assert run.backbone.content == world.run.backbone.content
    said = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"own pictures given back: \d+\.\d dB on 23 pictures that it was trained on", said[0])
    losses = [value for _, value in read_curves(Path(run.backbone.path))["UNet: denoising loss"]]
    first, last = f"{losses[0]:.3f} in the first tenth of 3 steps", f"{losses[2]:.3f} in the last"
    assert said[2] == f"UNet: denoising loss {first}, {last}"
    later = world.again(output=tmp_path)
    pipeline.train_generator(later)
    assert sorted(later.store.ran) == ["features", "generator", "language", "ranker", "warm-start"]
    assert content(later.ragar.folder) == content(world.run.ragar.folder)


@pytest.mark.parametrize(("stage", "name"), [("encoder", "dual encoder"), ("backbone", "UNet")])
def test_a_pretraining_that_was_stopped_goes_on_to_the_same_bits(
    world: World, tmp_path: Path, monkeypatch, stage: str, name: str
):
    """Stopped in the third step of three; one step is done again, and TensorBoard shows each once."""
    config = config_file(tmp_path, backbone__save_every=1)
    told: list[int] = []

    class Stopping(SummaryWriter):
        def add_scalar(self, tag: str, value: float, step: int, *rest: Any, **named: Any) -> None:
            super().add_scalar(tag, value, step, *rest, **named)
            told.extend([step] * tag.startswith(name))
            if told == [0, 1, 2]:
                raise KeyboardInterrupt

    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter", Stopping)
    with pytest.raises(KeyboardInterrupt):
        pipeline.pretrain(open_run(config, world.data, tmp_path / "out"))
    (begun,) = (tmp_path / "out" / "store").glob(f"{stage}-*.partial")
    assert (begun / "unfinished.safetensors").is_file()
    told.clear()
    told.append(-1)
    run = open_run(config, world.data, tmp_path / "out")
    pipeline.pretrain(run)
    assert told == [-1, 0, 1, 2]
    place = ("encoder", "backbone").index(stage)
    folder = run.components.trained_folders[place]
    assert content(folder) == content(world.run.components.trained_folders[place])
    assert not list(folder.glob("unfinished*"))
    events = EventAccumulator(str(tmp_path / "out" / "tensorboard" / folder.name)).Reload()
    (tag,) = events.Tags()["scalars"]
    assert [event.step for event in events.Scalars(tag)] == [0, 1, 2]


def test_the_backbone_never_sees_what_is_held_out(world: World, tmp_path: Path, monkeypatch, capsys):
    """Of 23 pictures 6 are kept; encoder and UNet are given the other 17 with their own captions."""
    given: list[tuple[Any, torch.Tensor]] = []
    for name in ("train_dual_encoder", "train_unet"):
        train = getattr(models, name)

        def watched(captions: Any, images: torch.Tensor, *rest: Any, train: Any = train, **named: Any) -> Any:
            given.append((captions, images))
            return train(captions, images, *rest, **named)

        monkeypatch.setattr(models, name, watched)
    run = open_run(config_file(tmp_path, backbone__held_out=0.25), world.data, tmp_path / "out")
    pipeline.pretrain(run)
    assert "dB on 6 pictures kept from the training" in capsys.readouterr().out
    training = run.backbone
    assert isinstance(training, UNetTraining)
    assert (len(training.rows), len(training.held_out_rows)) == (17, 6)
    assert sorted(training.rows + training.held_out_rows) == [
        row for row, item in enumerate(run.pictures.items) if item.id != HOLE
    ]
    for captions, images in given:
        assert captions == [run.components.keywords.captions.texts[row] for row in training.rows]
        assert torch.equal(images, run.pictures.images[training.rows])
    assert len(given) == 2


# --- pictures for a whole catalogue ---------------------------------------------------------------------------------


@pytest.fixture
def unpictured(copy: World) -> World:
    """Everything but the pictures is there."""
    (images,) = (copy.output / "store").glob("images-*")
    shutil.rmtree(images)
    return copy


def stage_files(folder: Path) -> dict[str, bytes]:
    """What stands in a finished stage, without the store's own receipt, which knows the time."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "manifest.json"}


def test_an_augmentation_that_was_stopped_makes_only_what_is_missing(unpictured: World, world: World, monkeypatch):
    """Ctrl-C in the second batch; the pictures of the first are not made again, and the result is the same."""
    made: list[int] = []

    class Slow(FixedShape):
        def generate(self, requests: Sequence[Request]) -> torch.Tensor:
            if made == [8]:
                made.append(0)
                raise KeyboardInterrupt
            made.append(len(requests))
            return super().generate(requests)

    monkeypatch.setattr(ragar_module, "FixedShape", Slow)
    with pytest.raises(KeyboardInterrupt):
        pipeline.augment(unpictured.again())
    again = unpictured.again()
    folder = pipeline.augment(again)
    assert again.store.ran == ["images"]
    assert made[:2] == [8, 0]
    assert sum(made) == len(again.drawn.setting(again.ranker, 0).pairs)
    assert stage_files(folder) == stage_files(pipeline.augment(world.run))


def test_the_manifest_names_every_pair_once(world: World):
    with (pipeline.augment(world.run) / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    run = world.run
    pairs = [
        (str(run.ranker.dataset.user_tokens[u]), str(run.ranker.dataset.item_tokens[i]))
        for u, i in run.drawn.setting(run.ranker, 0).pairs
    ]
    assert sorted((row["user"], row["item"]) for row in rows) == sorted(pairs)
    assert len(set(pairs)) == len(pairs) > 6 * 3  # candidates of six users for themselves, and pictures for strangers
    assert [row["item"] for row in rows] == sorted(row["item"] for row in rows)


def test_several_seeds_share_the_preferences_and_the_folder(copy: World, tmp_path: Path, monkeypatch):
    """Two seeds ask for the own pictures twice and for those of other strangers: each preference is encoded once."""
    encoded: list[int] = []
    joined = Description.joined.__func__  # pyright: ignore[reportFunctionMemberAccess]

    def watched(cls: type[Description], parts: Sequence[Description]) -> Description:
        encoded.extend({id(part) for part in parts})  # a batch is filled up by repeating its parts
        return joined(cls, parts)

    monkeypatch.setattr(Description, "joined", classmethod(watched))
    run = open_run(config_file(tmp_path, evaluation__seeds=[0, 1], evaluation__draws=3), copy.data, copy.output)
    pipeline.augment(run)
    requests = [
        one for seed in (0, 1) for s in [run.drawn.setting(run.ranker, seed)] for one in map(s.request_for, s.pairs)
    ]
    assert len(run.drawn.shards) == len(requests)
    different = {(request.reference, request.history[-6:]) for request in requests}
    assert len(encoded) == len(different) < len(requests)
    # Random items need no picture: all their draws come with the first seed.
    seeds = run.results.frame.query("protocol == 'candidates'").groupby("control")["seed"].unique().map(list).to_dict()
    assert (seeds[OWN], seeds["original"], seeds["random_item"]) == ([0, 1], [0, 1], [0, 1, 2])


def test_pictures_that_somebody_names_on_the_command_line(copy: World, world: World, tmp_path: Path, capsys):
    """Two pairs, then a third: what is there stays. The pictures are those of the protocols where both ask."""
    run, file = copy.again(), tmp_path / "wanted.csv"
    pairs = run.drawn.setting(run.ranker, 0).pairs
    names = [(str(run.ranker.dataset.user_tokens[u]), str(run.ranker.dataset.item_tokens[i])) for u, i in pairs[:3]]
    arguments = ["augment", f"--config={copy.config}", f"--data={copy.data}", f"--output={copy.output}"]

    def drawn(count: int) -> list[tuple[str, str]]:
        file.write_text("user_id,item_id\n" + "".join(f"{user},{item}\n" for user, item in names[:count]))
        assert cli.main([*arguments, f"--requests={file}"]) == 0
        with (copy.output / "pictures" / "manifest.csv").open() as opened:
            return sorted((row["user"], row["item"]) for row in csv.DictReader(opened))

    assert drawn(2) == sorted(names[:2])
    first = (copy.output / "pictures" / "00000.safetensors").read_bytes()
    assert drawn(3) == sorted(names)
    assert (copy.output / "pictures" / "00000.safetensors").read_bytes() == first
    shards = ImageShards(
        copy.output / "pictures", json.loads((copy.output / "pictures" / "provenance.json").read_text())
    )
    requests = [run.drawn.setting(run.ranker, 0).request_for(pair) for pair in pairs[:3]]
    ours = world.run.drawn.shards
    assert torch.equal(shards.read(requests), ours.read(requests))
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == f"3 pictures asked for, 3 there: {copy.output / 'pictures' / 'manifest.csv'} says which is whose"
    file.write_text(f"user_id,item_id\nnobody,{names[0][1]}\n")
    line = fails(capsys, *arguments, f"--requests={file}")
    assert line == f"ragar-rec: {file}, line 2: the prepared data set has no user 'nobody'"
    line = fails(capsys, *arguments, f"--requests={file}", "--reflection.reward_steps=3")
    assert "has no user" in line
    file.write_text("user_id,item_id\n{},{}\n".format(*names[0]))
    for change in ("--reflection.reward_steps=3", "--evaluation.batch_size=4"):
        line = fails(capsys, *arguments, f"--requests={file}", change)
        assert re.search(
            r"output/pictures holds pictures of another generator or setting .*give another --output", line
        )


def drawn_by(world: World, number: int, of: int, port: int) -> None:
    """One of several processes, as a launcher would have started it."""
    place = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": of, "MASTER_PORT": port}
    os.environ |= {"TORCHELASTIC_RUN_ID": "test", "MASTER_ADDR": "127.0.0.1"} | {k: str(v) for k, v in place.items()}
    run_on_first_process(lambda: pipeline.augment(world.again()) and None)


def started(world: World, of: int = 1) -> list[ForkProcess]:
    """Processes that draw the world's pictures together; forked, because importing everything takes ten seconds."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=drawn_by, args=(world, number, of, port)) for number in range(of)]
    for process in processes:
        process.start()
    return processes


def test_two_processes_draw_what_one_does(unpictured: World, world: World):
    processes = started(unpictured, 2)
    for process in processes:
        process.join(100)
    assert [process.exitcode for process in processes] == [0, 0]
    again = unpictured.again()
    folder = pipeline.augment(again)
    assert again.store.ran == []
    assert stage_files(folder) == stage_files(pipeline.augment(world.run))


def test_after_kill_9_in_mid_run_two_processes_go_on_without_duplicate_or_hole(unpictured: World, world: World):
    """Killed when the second shard is there; a half-written third one is added to what the kill left."""
    whole = stage_files(pipeline.augment(world.run))
    (process,) = started(unpictured)
    store, found = unpictured.output / "store", []
    while process.is_alive() and len(found := sorted(store.glob("images-*.partial/*.safetensors"))) < 2:
        time.sleep(0.002)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert 2 <= len(found) < len([name for name in whole if name.endswith(".safetensors")])
    kept = {shard.name: shard.stat().st_mtime_ns for shard in found}
    (found[0].parent / "00005.safetensors.0f.tmp").write_bytes(b"half a shard")
    processes = started(unpictured, 2)
    for process in processes:
        process.join(100)
    assert [process.exitcode for process in processes] == [0, 0]
    folder = pipeline.augment(unpictured.again())
    assert stage_files(folder) == whole
    assert {name: (folder / name).stat().st_mtime_ns for name in kept} == kept


def test_a_full_disk_is_one_sentence_and_the_next_run_goes_on(unpictured: World, world: World, capsys):
    """Room for files of 20,000 bytes: eight pictures are 24,576."""
    arguments = ["augment", f"--config={unpictured.config}", f"--data={unpictured.data}"]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        line = fails(capsys, *arguments, f"--output={unpictured.output}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "make room and run the same command to continue: " in line
    (partial,) = (unpictured.output / "store").glob("images-*.partial")
    assert [path.name for path in partial.iterdir()] == ["provenance.json"]
    assert cli.main([*arguments, f"--output={unpictured.output}"]) == 0
    assert stage_files(pipeline.augment(unpictured.again())) == stage_files(pipeline.augment(world.run))


@pytest.mark.slow
def test_accelerate_launch_draws_what_one_process_does(unpictured: World, world: World):
    """Four processes by the real launcher; the first attempt is killed, with everything that it started."""
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "4"]
    command = [*launch, "-m", "ragar_rec.cli", "augment", f"--config={unpictured.config}"]
    command += [f"--data={unpictured.data}", f"--output={unpictured.output}"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    store, found = unpictured.output / "store", []
    first = subprocess.Popen(
        command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    while first.poll() is None and not (found := list(store.glob("images-*.partial/*.safetensors"))):
        time.sleep(0.002)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    whole = stage_files(pipeline.augment(world.run))
    assert 0 < len(found) < len([name for name in whole if name.endswith(".safetensors")])
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    again = unpictured.again()
    assert stage_files(pipeline.augment(again)) == whole
    assert again.store.ran == []


def test_a_poster_that_does_not_decode_is_a_hole_and_is_named(tmp_path: Path, capsys):
    data = film_folder(tmp_path / "raw")
    (data / "posters" / "7.jpg").write_text("<html>404</html>")
    config = config_file(tmp_path)
    assert cli.main(["prepare", f"--config={config}", f"--data={data}", f"--output={tmp_path / 'output'}"]) == 0
    out = capsys.readouterr().out
    assert "30 users, 24 items, 360 interactions" in out
    assert "1 pictures do not decode and are treated as missing: items 7" in out
    run = open_run(config, data, tmp_path / "output")
    assert run.pictures.catalog.without_image == ["7", HOLE]
    assert run.pictures.pictured == {str(n) for n in range(1, 25)} - {"7", HOLE}


def test_a_single_request_makes_no_pair_and_no_distance(world: World):
    run = world.run
    frame = diversity_frame(
        run.generator, world.requests[:1], run.ranker.reward, system="toy", judge="toy", seed=0, progress=False
    )
    assert tuple(frame.columns) == MEASURED
    assert frame.empty


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one sentence on stderr, behind the bars of the stages before it."""
    assert cli.main(list(arguments)) == 2
    error = capsys.readouterr().err
    assert error.count("ragar-rec: ") == 1
    assert "Traceback" not in error
    line = error.splitlines()[-1]
    assert line.startswith("ragar-rec: ")
    return line


class Files(NamedTuple):
    """What a command line names."""

    config: Path
    data: Path
    output: Path

    def arguments(self, *more: str) -> list[str]:
        return ["evaluate", f"--config={self.config}", f"--data={self.data}", f"--output={self.output}", *more]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(config_file(tmp_path), film_folder(tmp_path / "raw"), tmp_path / "output")


def test_a_missing_data_folder(files: Files, capsys, tmp_path):
    line = fails(capsys, *files._replace(data=tmp_path / "gone").arguments())
    assert f"no data folder at {tmp_path / 'gone'}" in line
    assert "--data" in line


def test_an_empty_data_folder(files: Files, capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    line = fails(capsys, *files._replace(data=tmp_path / "empty").arguments())
    assert f"the data folder {tmp_path / 'empty'} is empty; it must hold ratings.csv and movies.csv" in line


def test_no_data_folder_for_a_data_set_that_is_not_embedded(files: Files, capsys):
    line = fails(capsys, "prepare", f"--config={files.config}", f"--output={files.output}")
    assert "name the folder with ratings.csv and movies.csv by --data" in line


def test_ratings_without_the_column(files: Files, capsys):
    ratings = files.data / "ratings.csv"
    ratings.write_text(ratings.read_text().replace("userId,movieId,rating,", "userId,movieId,stars,"))
    line = fails(capsys, *files.arguments())
    assert f"{ratings} has no column rating; its columns are userId, movieId, stars, timestamp" in line


def test_a_typo_in_the_config(files: Files, capsys):
    files.config.write_text(files.config.read_text().replace("reward_steps:", "reward_step:"))
    line = fails(capsys, *files.arguments())
    assert f"unknown key `reflection.reward_step` in {files.config}" in line
    assert line.endswith("the nearest valid key is `reflection.reward_steps`")


def test_k_above_the_history(files: Files, capsys):
    line = fails(capsys, *files.arguments("--generator.k=7"))
    assert "k 7 with history top_k needs 7" in line
    assert "history_length is 6" in line


@pytest.mark.parametrize("key", ["topk", "evaluation.k", "evaluation.candidates"])
def test_a_list_longer_than_the_catalogue(files: Files, capsys, key: str):
    """There are 24 films, and nothing but the tables is made."""
    value = "[10, 25]" if key == "topk" else "25"
    line = fails(capsys, *files.arguments(f"--{key}={value}"))
    assert line == f"ragar-rec: {key} asks for lists of 25, but there are 24 items"
    made = (folder.name.partition("-")[0] for folder in (files.output / "store").iterdir() if folder.is_dir())
    assert list(made) == ["data"]


def test_an_output_folder_that_is_a_file(files: Files, capsys):
    files.output.write_text("a file")
    line = fails(capsys, *files.arguments())
    assert f"cannot write to {files.output}" in line
    assert "--output" in line
    assert files.output.read_text() == "a file"


def test_an_encoder_without_its_weights(files: Files, capsys, tmp_path):
    line = fails(capsys, *files.arguments("--features.image_encoder=mobilenetv2_100"))
    assert "mobilenetv2_100 needs pretrained weights: name their folder by --weights" in line
    more = ("--features.image_encoder=mobilenetv2_100", f"--weights={tmp_path}")
    line = fails(capsys, *files.arguments(*more))
    assert f"no weights of mobilenetv2_100 at {tmp_path / 'mobilenetv2_100' / 'model.safetensors'}" in line
    assert "--weights" in line


def test_nobody_with_a_held_out_item(files: Files, capsys):
    line = fails(capsys, *files.arguments("--eval_args.split={RS: [0.9, 0.1, 0.0]}"))
    assert "nobody has an interaction in the test" in line
    assert "eval_args" in line


def test_no_picture_at_all(files: Files, capsys):
    shutil.rmtree(files.data / "posters")
    assert re.search("none of the 24 items in .* has a picture that decodes", fails(capsys, *files.arguments()))


def test_nobody_with_three_interactions(files: Files, capsys):
    rows = (files.data / "ratings.csv").read_text().splitlines()
    (files.data / "ratings.csv").write_text("\n".join(rows[:3]) + "\n")
    assert "nobody is left: all 1 people have fewer than 3 interactions" in fails(capsys, *files.arguments())


# --- what reflection works for --------------------------------------------------------------------------------------


def doubled(part: Any) -> Any:
    """A frozen ranker and all that it is made of, in float64."""
    if isinstance(part, torch.Tensor):
        return part.double() if part.is_floating_point() else part
    if isinstance(part, torch.nn.Module):
        return deepcopy(part).double()
    if isinstance(part, tuple):
        return tuple(doubled(one) for one in part)
    if is_dataclass(part) and not isinstance(part, type):
        return replace(part, **{entry.name: doubled(getattr(part, entry.name)) for entry in fields(part)})
    return part


def test_the_rankers_gradient_in_the_preference_equals_finite_differences(
    world: World, films: Path, tmp_path: Path
) -> None:
    """Preference -> two guided steps -> codec -> encoder -> MICRO's counterfactual score -> mean, in float64."""
    config = config_file(tmp_path, backbone__task="image-to-image", generator__guidance_scale=3.0)
    run, asked = open_run(config, films, tmp_path / "out"), world.requests[:4]
    ragar = run.ragar.warm.load(run.ragar.folder)
    made = ragar.encode_preference(asked)
    ragar.backbone = in_float64(ragar)
    view = Counterfactual(run.ranker.trained.ranker)
    view._frozen = doubled(view._frozen)
    reward = RankerReward(view, run.ranker.dataset, doubled(run.encoder.model), run.features.mean.double())
    start = made.detail.detach().double().requires_grad_()

    def mean_score(detail: torch.Tensor) -> torch.Tensor:
        preference = replace(made, detail=detail, overall=made.overall.double())
        return path_scores(ragar, preference, asked, reward, steps=2).mean()

    (gradient,) = torch.autograd.grad(mean_score(start), start)
    assert gradient.dtype == torch.float64
    assert gradient.norm() > 1e-5
    rng = torch.Generator().manual_seed(0)
    for _ in range(3):
        direction = torch.randn(start.shape, generator=rng, dtype=torch.float64)
        with torch.no_grad():
            difference = mean_score(start + 1e-4 * direction) - mean_score(start - 1e-4 * direction)
        torch.testing.assert_close((gradient * direction).sum(), difference / 2e-4, rtol=1e-5, atol=1e-10)


def test_lora_is_trained_saved_and_drawn_with_and_what_is_compared_with_does_without(copy: World, tmp_path: Path):
    config = config_file(tmp_path, reflection={**TINY["reflection"], "objective": "path", "lora_rank": 2})
    run, asked = open_run(config, copy.data, copy.output), copy.requests[:4]
    folder = run.ragar.folder
    assert run.store.ran == ["generator"]  # from the same warm start
    assert (folder / LORA_FILE).is_file()
    assert not (run.ragar.warm.folder / LORA_FILE).exists()
    untrained, plain = run.ragar.warm.generator, copy.run
    assert (run.ragar.generator.lora_rank, untrained.lora_rank) == (2, 0)
    pictures, embeds = run.ragar.generator.generate(asked), run.ragar.generator.encode_preference(asked).embeds()
    assert not torch.equal(run.ragar.generator.render(embeds, asked, lora=False), pictures)
    assert torch.equal(run.ragar.generator.generate_global(asked), plain.ragar.generator.generate_global(asked))
    assert torch.equal(untrained.generate(asked), plain.ragar.warm.generator.generate(asked))
    shared, own = (
        run.components.pipeline.pipeline.unet.state_dict(),
        plain.components.pipeline.pipeline.unet.state_dict(),
    )
    assert all(torch.equal(value, own[name]) for name, value in shared.items())
    elsewhere = pickle.loads(pickle.dumps(run.ragar))  # noqa: S301 - as another process gets it, to draw its share
    assert torch.equal(elsewhere.generator.generate(asked), pictures)


@pytest.mark.parametrize("model", ["VBPR", "FREEDOM", "LATTICE"])
def test_other_rankers_that_read_pictures_can_be_the_reward(copy: World, model: str) -> None:
    """The generator is trained on such a ranker, which stays as it was. A picture that shows the item's own is worth
    the ranker's own score, in standard deviations of the person's scores; another picture is worth something else.
    """
    run = copy.again()
    run.config = replace(run.config, recbole=with_ranker(run.config.recbole, model))
    before = weights(run)
    pipeline.train_generator(run)
    assert run.store.ran == ["ranker", "generator"]
    assert weights(run) == before
    assert run.ranker.label == f"{model} on dual"
    asked = copy.requests[:4]
    rows = run.components.gallery.rows([request.reference for request in asked])
    users = torch.tensor([run.ranker.dataset.user_id(request.user) for request in asked])
    items = torch.tensor([run.ranker.dataset.item_id(request.reference) for request in asked])
    scores = full_scores(run.ranker.trained.ranker, users)
    spread = scores[:, 1:].std(1, correction=0)
    own = run.ranker.reward(asked, to_float(run.pictures.images[rows]))
    torch.testing.assert_close(own, scores.gather(1, items[:, None])[:, 0] / spread, atol=1e-3, rtol=1e-3)
    assert ((run.ranker.reward(asked, to_float(run.pictures.images[rows].flip(0))) - own).abs() > 1e-3).any()


def test_the_code_of_a_ranker_of_ones_own_is_part_of_its_key(copy: World, tmp_path: Path, monkeypatch) -> None:
    code = tmp_path / "shop_rankers.py"
    code.write_text("from recsys.rankers.vbpr import VBPR\n\n\nclass Own(VBPR):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def ran() -> list[str]:
        run = copy.again()
        run.config = replace(run.config, recbole=with_ranker(run.config.recbole, "shop_rankers:Own"))
        _ = run.ranker.folder
        return run.store.ran

    assert [ran(), ran()] == [["ranker"], []]
    code.write_text(code.read_text() + "# another text\n")
    assert ran() == ["ranker"]


def reward_of(run: Experiment) -> Reward:
    """What reflection works for."""
    return run.ragar.reward


def test_rewards_are_added_with_their_weights_and_are_part_of_the_generators_key(
    world: World, copy: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relevance, an aesthetic head and a module of one's own beside the ranker; other bytes train another generator."""
    run, asked = world.run, world.requests[:4]
    assert reward_of(run) is run.ranker.reward
    pictures = run.ragar.generator.generate(asked)
    rows = run.components.gallery.rows([request.reference for request in asked])
    features, ranker = run.encoder.model.encode_images(pictures), run.ranker.reward(asked, pictures)
    head, code = tmp_path / "head.safetensors", tmp_path / "shop_taste.py"
    weight = torch.linspace(-1, 1, 16)[None]
    save_file({"weight": weight, "bias": torch.tensor([5.0])}, head)
    code.write_text("def pale(encoder, gallery):\n    return lambda requests, images: images.mean((1, 2, 3))\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    chosen = {"ranker": 0.5, "relevance": 2.0, "aesthetic": 0.1, "shop_taste:pale": -3}
    config = config_file(tmp_path, reflection__rewards=chosen, reflection__aesthetic_head=str(head))

    def opened() -> Experiment:
        return open_run(config, copy.data, copy.output)

    mixed = opened()
    relevance = (features * run.components.gallery.semantic[rows]).sum(1)
    aesthetic = features @ weight[0] + 5
    expected = 0.5 * ranker + 2 * relevance + 0.1 * aesthetic - 3 * pictures.mean((1, 2, 3))
    torch.testing.assert_close(reward_of(mixed)(asked, pictures), expected)
    first = mixed.ragar.folder
    assert mixed.store.ran == ["generator"]
    shutil.copy(head, tmp_path / "moved.safetensors")
    config = config_file(
        tmp_path, reflection__rewards=chosen, reflection__aesthetic_head=str(tmp_path / "moved.safetensors")
    )
    assert opened().ragar.folder == first
    code.write_text(code.read_text() + "# another text\n")
    second = opened().ragar.folder
    save_file({"weight": weight, "bias": torch.tensor([6.0])}, tmp_path / "moved.safetensors")
    assert len({first, second, opened().ragar.folder}) == 3


def test_a_reward_that_cannot_be_made_is_said_before_anything_is_trained(files: Files, capsys, tmp_path) -> None:
    line = fails(capsys, *files.arguments("--reflection.rewards={ranker: 1, my_shop:taste: 2}"))
    assert "the reward 'my_shop:taste' cannot be imported (No module named 'my_shop')" in line
    save_file({"weight": torch.ones(1, 768), "bias": torch.ones(1)}, tmp_path / "clip.safetensors")
    more = ("--reflection.rewards={aesthetic: 1}", f"--reflection.aesthetic_head={tmp_path / 'clip.safetensors'}")
    line = fails(capsys, *files.arguments(*more))
    assert "the aesthetic head reads 768 features a picture, dual gives 16" in line
    store = [path.name.partition("-")[0] for path in (files.output / "store").iterdir()]
    assert "generator" not in store


def test_too_few_people_to_learn_from_or_to_judge_by_are_said_before_the_backbone_is_trained(files: Files) -> None:
    """30 people: six judge, three validate."""

    def opened() -> Experiment:
        return open_run(files.config, files.data, files.output)

    unpictured, alone, unjudged = opened(), opened(), opened()
    vars(unpictured.pictures)["pictured"] = frozenset()
    vars(alone.ragar)["people"] = replace(alone.ragar.people, train=alone.ragar.people.train[:1])
    vars(unjudged.ragar)["people"] = replace(unjudged.ragar.people, test=())
    for run, sentence in (
        (unpictured, "0 of the 21 people who train the generator have a pictured"),
        (alone, "1 of the 1 .*; .* at least 2"),
        (unjudged, "0 of the 0 people who judge it .*; .* at least 1"),
    ):
        with pytest.raises(ValueError, match=sentence):
            pipeline.train_generator(run)
    store = [path.name.partition("-")[0] for path in (files.output / "store").iterdir()]
    assert not {"backbone", "language", "warm", "generator"} & set(store)


def test_tensorboard_shows_the_curves_of_training(world: World) -> None:
    run = world.run
    for folder in (*run.components.trained_folders[:2], run.ragar.warm.folder, run.ragar.folder):
        events = EventAccumulator(str(world.output / "tensorboard" / folder.name)).Reload()
        curves = read_curves(folder)
        assert sorted(events.Tags()["scalars"]) == sorted(name.replace(": ", "/") for name in curves)
        for name, points in curves.items():
            shown = [(event.step, event.value) for event in events.Scalars(name.replace(": ", "/"))]
            assert shown == [(step, pytest.approx(value)) for step, value in points]


def test_an_encoder_of_another_width_than_the_rankers_is_one_sentence(world: World) -> None:
    run, other = world.run, HogEncoder((48, 32))
    with pytest.raises(ValueError, match=rf"the ranker reads 16 features a picture, .*hog.* gives {other.dim}"):
        RankerReward(run.ranker.view, run.ranker.dataset, other, run.features.mean)
