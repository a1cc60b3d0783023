"""The pipeline: train the ranker, train the generator, augment, evaluate. The API and the command line call these.

Each function asks a :class:`Run` for a stage; what the stage needs is built on the way, what is finished is reused.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import mean
from typing import Any

import pandas as pd
import torch

from generation.pictures import to_float
from generation.ragar.fixed_shape import FixedShape
from ragar_rec.augment import Plan, begin, draw, encode, encode_stored, share
from ragar_rec.evaluation.controls import Personal, RandomItem, Strangers, Table
from ragar_rec.evaluation.diversity import diversity_frame
from ragar_rec.evaluation.fidelity import psnr
from ragar_rec.evaluation.frames import SYSTEM, generator_frame, protocol_frame, stranger_requests
from ragar_rec.evaluation.people import sample, training_requests
from ragar_rec.evaluation.per_user import OWN, read_per_user, write_per_user
from ragar_rec.evaluation.protocols import Candidates, Reference, Reranking, Source, Task, tasks
from ragar_rec.evaluation.requests import Requests, named_pairs, read_requests, wanted_pairs
from ragar_rec.evaluation.results import Results, rows_from_per_user
from ragar_rec.experiment import Run
from ragar_rec.report.tables import format_table, tables
from ragar_rec.stages import page
from ragar_rec.store.curves import read_curves
from ragar_rec.store.hashing import digest, hash_file, hash_files
from ragar_rec.store.shards import ImageShards
from ragar_rec.store.store import content
from recsys import distributed
from recsys.recbole.dataset import Dataset

__all__ = ["Run", "augment", "demo", "evaluate", "prepare", "pretrain", "report", "train_generator", "train_ranker"]

SHOWN = 2000
"""Pictures, at most, that the codec's error is measured on."""

LIBRARIES = (
    "ragar-rec",
    "torch",
    "torch-geometric",
    "recbole",
    "diffusers",
    "transformers",
    "peft",
    "open_clip_torch",
    "timm",
    "faiss-cpu",
    "numpy",
    "pandas",
    "scipy",
    "scikit-image",
)


def prepare(run: Run) -> Path:
    """Raw files -> atomic files and catalogue; prints what was found."""
    folder = run.data_folder
    summary = json.loads(next(folder.glob("*/summary.json")).read_text())
    pictured = summary["items_without_image"] < summary["items"]
    broken = json.loads((run.pictures_folder / "undecodable.json").read_text()) if pictured else []
    print(", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in summary.items()))
    if broken:
        named = ", ".join(broken[:10])
        print(f"{len(broken)} pictures do not decode and are treated as missing: items {named}")
    return folder


def pretrain(run: Run) -> Path:
    """Dual encoder, codec and UNet, learned from the catalogue; prints how far they came.

    Raises:
        ValueError: the config names weights in their place.
    """
    if run.config.models.backbone is not None:
        raise ValueError(f"models.backbone is {run.config.models.backbone}: there is nothing to pretrain; leave it out")
    folder = run.backbone_folder
    shown = torch.tensor(run.held_out or run.learned)[:SHOWN]
    pictures = to_float(run.images[shown])
    decoded = torch.cat([run.backbone.reconstruct(part) for part in pictures.split(64)])
    kind = "kept from it" if run.held_out else "that it was fitted to"
    print(f"codec: {psnr(decoded, pictures):.1f} dB on {len(shown):,} pictures {kind}")
    for name, points in (read_curves(run.encoder_folder) | read_curves(folder)).items():
        losses = [loss for _, loss in points]
        tenth = max(1, len(losses) // 10)
        first, last = mean(losses[:tenth]), mean(losses[-tenth:])
        print(f"{name} {first:.3f} in the first tenth of {len(losses):,} steps, {last:.3f} in the last")
    return folder


def train_ranker(run: Run) -> Path:
    """The ranker, by RecBole; prints its validation metrics by RecBole's evaluator."""
    metrics = run.ranker.metrics("valid")
    print(
        f"{run.config.recbole['model']} on validation: "
        + ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
    )
    return run.ranker_folder


def train_generator(run: Run) -> Path:
    """Warm start and reflection with the ranker as reward, on the backbone of :func:`pretrain`."""
    return run.generator_folder


def augment(run: Run, requests: Path | None = None) -> Path:
    """The pictures that the protocols ask for, made once and kept; by every process that a launcher started.

    Args:
        run: whose generator draws.
        requests: a CSV file with ``user_id`` and ``item_id``: its pictures instead, kept in ``output/pictures``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it asks for what is unknown (the line is named), or pictures of another generator or
            `evaluation.batch_size` stand there.
    """
    if requests is not None:
        return _draw_named(run, requests)
    run.check_lists()
    settings = run.config.evaluation

    def build(to: Path) -> None:
        asked = [Setting(run, seed) for seed in settings.seeds]
        requests = [setting.requests(pair) for setting in asked for pair in setting.pairs]
        shards = opened(to, run)
        distributed.together(_draw, run, begin(requests, shards, settings.batch_size), shards)
        opened(to, run).write_manifest(requests)

    keys = ("users", "candidates", "targets", "protocols", "seeds", "batch_size")
    before = {"generator": content(run.generator_folder), "ranker": run.ranker_content, **run.frozen}
    return run.stage("images", [f"evaluation.{key}" for key in keys], before, build, resumable=True)


def _draw_named(run: Run, file: Path) -> Path:
    named, settings = read_requests(file), run.config.evaluation
    pairs = named_pairs(named, run.dataset, run.pictured)
    requests = [make(pair) for make in (Requests(run.dataset, seed) for seed in settings.seeds) for pair in pairs]
    made_by = {"generator": digest([content(run.generator_folder), run.frozen]), "batch_size": settings.batch_size}
    shards = ImageShards(run.output / "pictures", made_by)
    distributed.together(_draw, run, begin(requests, shards, settings.batch_size), shards)
    shards.refresh()
    manifest = shards.write_manifest(shards.ids)
    print(f"{len(requests):,} pictures asked for, {len(shards):,} there: {manifest} says which is whose")
    return shards.folder


def _draw(run: Run, plan: Plan, shards: ImageShards) -> None:
    """On each of several processes: the pictures of this one's part of the plan; then it waits for the others."""
    if mine := share(plan):
        draw(FixedShape(run.generator, run.config.evaluation.batch_size), mine, shards, progress=run.progress)
    distributed.meet()


def opened(images: Path, run: Run) -> ImageShards:
    """The shards of the stage ``images``."""
    return ImageShards(images, {"seeds": list(run.config.evaluation.seeds)})


class Setting:
    """One seed of the evaluation: its people, what may be recommended to them, and who stands in for whom."""

    def __init__(self, run: Run, seed: int) -> None:
        settings = run.config.evaluation
        dataset: Dataset = run.dataset
        self.seed = seed
        self.people = sample(dataset, settings.users, settings.seeds[0])
        self.tasks: list[Task] = tasks(dataset, run.view, self.people)
        offered: dict[str, Reranking] = {
            "reference": Reference(settings.targets),
            "candidates": Candidates(settings.candidates),
        }
        self.protocols = [offered[name] for name in settings.protocols]
        self.requests = Requests(dataset, seed)
        self.strangers = Strangers(dataset, seed, self.people)
        known = {str(token): row for row, token in enumerate(dataset.item_tokens)}
        pictured = {known[item] for item in run.pictured if item in known}
        self.pairs = wanted_pairs(self.tasks, self.protocols, self.strangers, pictured)


MEASURED = [
    *(f"evaluation.{key}" for key in ("users", "candidates", "targets", "protocols", "controls", "k", "seeds")),
    "reflection.held_out",
    "reflection.seed",
]
"""The keys that a person's numbers depend on; how they are summed up and shown is not among them."""


def evaluate(run: Run) -> Path:
    """Ranks before and after under every protocol and control: prints the tables, writes results.json."""

    def build(to: Path) -> None:
        frame = pd.concat([*_recommendation(run), *_generation(run)], ignore_index=True)
        write_per_user(frame, to / "per_user.parquet")

    before = {"images": content(augment(run)), **_trained(run)}
    frame = read_per_user(run.stage("results", MEASURED, before, build) / "per_user.parquet")
    settings = run.config.evaluation
    rows = rows_from_per_user(
        in_order(frame), run.name, resamples=settings.resamples, confidence=settings.confidence, seed=settings.seeds[0]
    )
    run.output.mkdir(parents=True, exist_ok=True)
    results = Results(rows, run=provenance(run))
    results.write(run.output / "results.json")
    write_per_user(frame, run.output / "per_user.parquet")
    for table in tables(rows):
        print("\n" + format_table(table))
    return run.output / "results.json"


PROTOCOLS = ("candidates", "reference", "generator", "diversity")
CONTROLS = (
    OWN,
    "original",
    "reconstruction",
    "shuffled_user",
    "random_item",
    "reference_image",
    "global",
    "untrained",
    "seeds",
)
METRICS = ("recall", "ndcg", "delta_r", "score", "feature_distance", "thumbnail_distance")


def in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of the tables: protocols, metrics, and the own pictures before their controls."""
    places = (("protocol", PROTOCOLS), ("metric", METRICS), ("control", CONTROLS))
    keys = {
        f"_{column}": frame[column].str.partition("@")[0].map({name: at for at, name in enumerate(names)})
        for column, names in places
    }
    return frame.assign(**keys).sort_values(list(keys), kind="stable").drop(columns=list(keys))


def _recommendation(run: Run) -> list[pd.DataFrame]:
    settings, frames = run.config.evaluation, []
    shards = opened(augment(run), run)
    for seed in settings.seeds:
        setting = Setting(run, seed)
        requests = [setting.requests(pair) for pair in setting.pairs]
        features = encode_stored(run.reward, shards, requests, progress=run.progress)
        pictures = dict(zip(setting.pairs, features, strict=True))
        sources = _sources(run, setting, pictures)
        how: dict[str, Any] = {"k": settings.k, "judge": run.judge, "seed": seed, "progress": run.progress}
        frames.append(protocol_frame(setting.tasks, setting.protocols, sources, run.view, run.dataset, **how))
    return frames


def _sources(run: Run, setting: Setting, pictures: dict[tuple[int, int], torch.Tensor]) -> dict[str, Source | None]:
    dim = run.reward.encoder.dim
    make: dict[str, Callable[[], Source | None]] = {
        "original": lambda: None,
        "reconstruction": lambda: _reconstruction(run, setting),
        "shuffled_user": lambda: Personal(pictures, dim, owner=setting.strangers),
        "random_item": lambda: RandomItem(run.original_features, setting.seed),
    }
    own: dict[str, Source | None] = {OWN: Personal(pictures, dim)}
    return own | {name: make[name]() for name in run.config.evaluation.controls}


def _reconstruction(run: Run, setting: Setting) -> Table:
    """Each item that some protocol touches, through the codec and back."""
    original = run.original_features
    items = sorted({item for _, item in setting.pairs})
    rows = run.gallery.rows([str(run.dataset.item_tokens[item]) for item in items])
    images = torch.cat([run.backbone.reconstruct(to_float(run.images[part])) for part in rows.split(64)])
    table, there = torch.zeros_like(original.table), torch.zeros_like(original.there)
    table[items] = encode(run.reward, images, progress=run.progress, description="features of reconstructions")
    there[items] = True
    return Table(table, there)


def _generation(run: Run) -> list[pd.DataFrame]:
    seed = run.config.evaluation.seeds[0]
    requests = training_requests(run.dataset, run.people.test, run.pictured, seed)
    strangers = Strangers(run.dataset, seed, run.people.test)
    others = stranger_requests(requests, run.dataset, strangers, seed)
    untrained = run.load_generator(run.warm_folder)
    how: dict[str, Any] = {"judge": run.judge, "seed": seed, "progress": run.progress}
    return [
        generator_frame(run.generator, untrained, requests, others, run.reward, **how),
        diversity_frame(run.generator, requests, run.reward, **how),
    ]


PAGE = ("page.py", "plots.py", "report.*", "tables.py")
"""The code that makes the page: what it shows changes with it."""


def report(run: Run) -> Path:
    """One self-contained HTML page."""
    results = Results.read(evaluate(run))

    def build(to: Path) -> None:
        page.build(run, results).write(to / "report.html")

    shown_by = sorted(file for name in PAGE for file in Path(__file__).parent.glob(name))
    before = {"results": hash_file(run.output / "per_user.parquet"), "page": hash_files(shown_by), **_trained(run)}
    folder = run.stage("report", ["catalog", "recbole", "generator", "evaluation"], before, build)
    shutil.copyfile(folder / "report.html", run.output / "report.html")
    print(f"\nThe report: {run.output / 'report.html'}")
    return run.output / "report.html"


def _trained(run: Run) -> dict[str, str]:
    """Contents of everything that a person's numbers and the report are made from."""
    trained = {"features": run.features_folder, "generator": run.generator_folder}
    return {name: content(folder) for name, folder in trained.items()} | {"ranker": run.ranker_content} | run.frozen


def demo(run: Run) -> Path:
    """Everything, with a word on what it is."""
    print(
        f"{run.name}: {run.config.evaluation.users} people, C = {run.config.evaluation.candidates}, "
        f"{run.config.generator.steps} sampling steps; small on purpose. Finished stages are kept in {run.store.root}."
    )
    prepare(run)
    run.check_lists()
    train_ranker(run)
    train_generator(run)
    return report(run)


def provenance(run: Run) -> dict[str, Any]:
    """How the numbers came about: command, config, seeds, versions, machine, seconds of each stage."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    python = platform.python_version()
    return {
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "dataset": run.name,
        "config": run.config.part(),
        "system": SYSTEM,
        "versions": {name: _version(name) for name in LIBRARIES},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {gpu}, Python {python}",
        "seconds": run.store.seconds(),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
