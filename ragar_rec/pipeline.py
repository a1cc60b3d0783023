"""The pipeline: prepare, pretrain, train the ranker and the generator, augment, evaluate, report.

The command line has a command of the same name for each function. A function asks an :class:`Experiment` for a stage;
what the stage needs is built on the way, and what is finished is reused.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from statistics import mean

import torch

from generation.pictures import to_float
from ragar_rec.evaluation.diagnosis import findings
from ragar_rec.evaluation.fidelity import psnr
from ragar_rec.evaluation.per_user import write_per_user
from ragar_rec.evaluation.results import Results, in_table_order, rows_from_per_user
from ragar_rec.experiment import Experiment
from ragar_rec.provenance import provenance
from ragar_rec.report.tables import format_table, tables
from ragar_rec.stages.drawn import draw_requests
from ragar_rec.stages.models import UNetTraining
from ragar_rec.store.curves import read_curves
from recsys.recbole import checkpoint

__all__ = [
    "Run",
    "augment",
    "demo",
    "diagnose",
    "evaluate",
    "prepare",
    "pretrain",
    "report",
    "train_generator",
    "train_ranker",
]

Run = Experiment
"""The experiment, by the name that this module's users know."""

NAMED = 5
"""Items, at most, that are named with what is wrong with them."""

RECONSTRUCTED = 2000
"""Pictures, at most, on which the codec's error is measured."""


def prepare(run: Experiment) -> Path:
    """Raw files to atomic files and a catalogue; prints what was found."""
    summary = run.catalogue.summary
    pictured = summary["items_without_image"] < summary["items"]
    undecodable = run.pictures.undecodable if pictured else []
    print(", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in summary.items()))
    problems = run.catalogue.image_problems
    if problems:
        print(f"The images of {len(problems):,} of {summary['items']:,} items cannot be found:")
        for item, problem in list(problems.items())[:NAMED]:
            print(f"  item {item!r}: {problem}")
        if len(problems) > NAMED:
            print(f"  and {len(problems) - NAMED:,} more, in {run.catalogue.file.with_name('image_problems.json')}")
    if brought := run.catalogue.feature_files:
        print(f"features that came with the data set: {', '.join(brought)}")
    if undecodable:
        named = ", ".join(undecodable[:10])
        print(f"{len(undecodable)} pictures do not decode and are treated as missing: items {named}")
    return run.catalogue.folder


def pretrain(run: Experiment) -> Path:
    """Dual encoder, codec and UNet, trained on the catalogue; prints the codec's error and the losses.

    Raises:
        ValueError: the config names weights in their place.
    """
    training, pictures = run.backbone, run.pictures
    if not isinstance(training, UNetTraining):
        raise ValueError(f"models.backbone is {run.config.models.backbone}: there is nothing to pretrain; leave it out")
    components = run.components  # Before the training: weights that are missing are said now.
    folder = training.folder
    rows = torch.tensor(training.held_out_rows or training.rows)[:RECONSTRUCTED]
    images = to_float(pictures.images[rows])
    decoded = torch.cat([components.pipeline.reconstruct(block) for block in images.split(64)])
    kind = "kept from it" if training.held_out_rows else "that it was fitted to"
    print(f"codec: {psnr(decoded, images):.1f} dB on {len(rows):,} pictures {kind}")
    encoder = training.encoder.weights
    for name, points in (read_curves(Path(encoder.path)) | read_curves(folder)).items():
        losses = [loss for _, loss in points]
        tenth = max(1, len(losses) // 10)
        first, last = mean(losses[:tenth]), mean(losses[-tenth:])
        print(f"{name} {first:.3f} in the first tenth of {len(losses):,} steps, {last:.3f} in the last")
    return folder


def train_ranker(run: Experiment) -> Path:
    """The ranker, by RecBole; prints its validation metrics by RecBole's evaluator."""
    trained, model = run.ranker.trained, run.config.recbole["model"]
    metrics = ", ".join(f"{name} {value:.4f}" for name, value in trained.metrics("valid").items())
    if metrics:
        print(f"{model} on validation: {metrics}")
    else:
        print(
            f"{model} was not validated, as the split has no interaction for validation: it has the weights of its "
            f"last epoch, {trained.best_epoch}; for those of the best epoch another eval_args.split, or rows labelled "
            "1 (valid), are needed"
        )
    return run.ranker.folder


def diagnose(run: Experiment) -> Path:
    """Whether other pictures could help this ranker, without any generator; prints a sentence for each step.

    Writes diagnosis.json (the findings) and diagnosis.parquet (a value for each user) into the output folder.
    """
    run.check_list_lengths()
    settings, diagnosis = run.config.evaluation, run.diagnosis
    found = findings(
        diagnosis.frame,
        metric=f"ndcg@{settings.k}",
        personal_share=diagnosis.personal_share,
        resamples=settings.resamples,
        confidence=settings.confidence,
    )
    run.output.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(diagnosis.folder / "diagnosis.parquet", run.output / "diagnosis.parquet")
    checkpoint.write_json(run.output / "diagnosis.json", {"findings": [finding.as_dict() for finding in found]})
    for finding in found:
        print(f"\n{finding.question}\n  {finding.answer}")
        if finding.advice:
            print(f"  -> {finding.advice}")
    return run.output / "diagnosis.json"


def train_generator(run: Experiment) -> Path:
    """Warm start and reflection with the ranker as reward, on the backbone of :func:`pretrain`."""
    return run.system.folder


def augment(run: Experiment, requests: Path | None = None) -> Path:
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
        return draw_requests(run.system, run.drawn.settings, requests, run.output / "pictures").folder
    run.check_list_lengths()
    return run.drawn.folder


def evaluate(run: Experiment) -> Path:
    """Ranks before and after under every protocol and control: prints the tables, writes results.json."""
    augment(run)
    settings, frame = run.config.evaluation, run.results.frame
    rows = rows_from_per_user(
        in_table_order(frame),
        run.catalogue.title,
        resamples=settings.resamples,
        confidence=settings.confidence,
        seed=settings.seeds[0],
    )
    run.output.mkdir(parents=True, exist_ok=True)
    Results(rows, run=provenance(run)).write(run.output / "results.json")
    write_per_user(frame, run.output / "per_user.parquet")
    for table in tables(rows):
        print("\n" + format_table(table))
    return run.output / "results.json"


def report(run: Experiment) -> Path:
    """One self-contained HTML page."""
    page = run.report(Results.read(evaluate(run)))
    shutil.copyfile(page.folder / "report.html", run.output / "report.html")
    print(f"\nThe report: {run.output / 'report.html'}")
    return run.output / "report.html"


def demo(run: Experiment) -> Path:
    """Everything, with a sentence on its scale."""
    settings = run.config.evaluation
    print(
        f"{run.catalogue.title}: {settings.users} people, C = {settings.candidates}, "
        f"{run.config.generator.steps} sampling steps; small on purpose. Finished stages are kept in {run.store.root}."
    )
    prepare(run)
    run.check_list_lengths()
    train_ranker(run)
    train_generator(run)
    return report(run)
