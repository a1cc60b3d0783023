"""The pipeline: prepare, pretrain, train the ranker and the generator, augment, evaluate, report.

The command line has a command of the same name for each function. A function asks an :class:`Experiment` for a stage;
what the stage needs is built on the way, and what is finished is reused.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from generation.backbone.config import SamplingConfig
from ragar_rec import evaluation, stages
from ragar_rec import report as reporting
from ragar_rec import store as stored
from ragar_rec.config.schema import narrowed
from ragar_rec.experiment import Experiment
from ragar_rec.provenance import provenance
from ragar_rec.store.curves import read_curves
from ragar_rec.store.hashing import digest
from ragar_rec.store.inventory import remove_unused, stored_entries

if TYPE_CHECKING:  # RecBole is loaded by the commands that need it
    from recsys.recbole.training import TrainedRanker

__all__ = [
    "Run",
    "augment",
    "demo",
    "diagnose",
    "evaluate",
    "plant",
    "prepare",
    "pretrain",
    "recommend",
    "report",
    "store",
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
    if shapes := run.catalogue.shapes:
        print(reporting.frame_sentence(shapes, run.pictures.size, run.pictures.fit))
    if undecodable:
        named = ", ".join(undecodable[:10])
        print(f"{len(undecodable)} pictures do not decode and are treated as missing: items {named}")
    if run.masks is not None:
        run.masks.save_sheet(sheet := run.output / "masks.png")
        print(f"{run.masks.summary} Some of them: {sheet}")
    return run.catalogue.folder


def pretrain(run: Experiment) -> Path:
    """Dual encoder and UNet, adapted to the catalogue or learned from it; prints what they give back, and the losses.

    Where the config uses the library's models as they are, there is nothing to do, and that is said.

    Raises:
        ValueError: the config names weights in their place.
    """
    training, pictures = run.backbone, run.pictures
    if run.config.models.backbone is not None:
        raise ValueError(f"models.backbone is {run.config.models.backbone}: there is nothing to pretrain; leave it out")
    if not isinstance(training, stages.UNetTraining):
        print(
            f"backbone.start is {run.config.backbone.start}, whose models are used as they are: nothing is to be "
            "pretrained. --backbone.unet_steps=300 adapts them to these pictures."
        )
        return Path(training.path)
    components = run.components  # Before the training: weights that are missing are said now.
    folder = training.folder
    rows = (training.held_out_rows or training.rows)[:RECONSTRUCTED]
    kind = "kept from the training" if training.held_out_rows else "that it was trained on"
    ids = [pictures.items[row].id for row in rows]
    reconstruct = partial(components.reconstruct, sampling=narrowed(SamplingConfig, run.config.generator))
    error = evaluation.given_back_psnr(reconstruct, ids, pictures.images[rows])
    print(f"own pictures given back: {error:.1f} dB on {len(rows):,} pictures {kind}")
    for name, points in (read_curves(Path(training.encoder.weights.path)) | read_curves(folder)).items():
        losses = [loss for _, loss in points]
        tenth = max(1, len(losses) // 10)
        first, last = mean(losses[:tenth]), mean(losses[-tenth:])
        print(f"{name} {first:.3f} in the first tenth of {len(losses):,} steps, {last:.3f} in the last")
    return folder


def train_ranker(run: Experiment) -> Path:
    """The ranker, by RecBole; prints its metrics on validation, and on the test beside simple rankers.

    Where another ranker rewards (`reflection.ranker`), it is trained too. Nothing is chosen by the test.
    """
    trained, model = run.ranker.trained, run.config.recbole["model"]
    _print_validation(model, trained)
    if run.reward_ranker is not run.ranker:
        _print_validation(f"{run.config.reflection.ranker}, which rewards,", run.reward_ranker.trained)
    if not len(trained.dataset.interactions.test[0]):
        print(f"{model} was not tested, as the split has no interaction for the test")
        return run.ranker.folder
    rankers = {model: trained} | {str(ranker.settings["model"]): ranker.trained for ranker in run.baselines()}
    settings = run.config.evaluation
    bootstrap = {"resamples": settings.resamples, "confidence": settings.confidence, "seed": settings.seeds[0]}
    print(evaluation.compared_on_test(model, rankers, bootstrap))
    return run.ranker.folder


def _print_validation(name: str, trained: TrainedRanker) -> None:
    """Print a ranker's metrics on validation, or why there are none."""
    metrics = ", ".join(f"{metric} {value:.4f}" for metric, value in trained.metrics("valid").items())
    if metrics:
        print(f"{name} on validation: {metrics}")
        return
    print(
        f"{name} was not validated, as the split has no interaction for validation: it has the weights of its "
        f"last epoch, {trained.best_epoch}; for those of the best epoch another eval_args.split, or rows labelled "
        "1 (valid), are needed"
    )


def diagnose(run: Experiment, generator: bool = False) -> Path:
    """Whether other pictures could help the ranker that rewards; prints a sentence for each step.

    Writes diagnosis.json (the findings) and diagnosis.parquet (a value for each user) into the output folder.

    Args:
        run: whose ranker.
        generator: also diagnose the system, which is trained if it is not; without it no generator is needed.
    """
    run.check_reads_pictures()
    run.check_list_lengths()
    of_generator = run.judging.generator_diagnosis if generator else None
    frame = stages.joined_frame(run.judging.diagnosis, of_generator)
    found = stages.joined_findings(run.judging.diagnosis, of_generator, run.config.evaluation)
    run.output.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(run.output / "diagnosis.parquet", index=False)
    written = json.dumps({"findings": [finding.as_dict() for finding in found]}, indent=1, ensure_ascii=False)
    (run.output / "diagnosis.json").write_text(written, encoding="utf-8")
    if run.reward_ranker is not run.ranker:
        print(f"\nThe ranker is {run.reward_ranker.label}, which rewards.")
    for finding in found:
        print(f"\n{finding.text()}")
    return run.output / "diagnosis.json"


def train_generator(run: Experiment) -> Path:
    """The generator, on the backbone of :func:`pretrain`: RAGAR with the ranker as reward, or what the config names."""
    system = run.system
    if isinstance(system, stages.Stage):
        return system.folder
    _ = system.generator  # What keeps it from being built is said now.
    print(f"generator.system is {run.config.generator.system}: there is nothing to train")
    return run.output


def augment(run: Experiment, requests: Path | str | None = None, images: stored.PictureFormat | None = None) -> Path:
    """The pictures that the protocols ask for, made once and kept; by every process that a launcher started.

    Args:
        run: whose generator draws.
        requests: a CSV file with ``user_id`` and ``item_id``: its pictures instead, kept in ``output/pictures``.
        images: the pictures also as files of this format, ``output/pictures/<user>/<item>.png``.

    Returns:
        The folder of the shards, or the table of the files if these were asked for.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it asks for what is unknown (the line is named), or pictures of another generator or
            `evaluation.batch_size` stand there.
    """
    run.check_reads_pictures()
    folder = run.output / "pictures"
    if requests is not None:
        shards = stages.draw_requests(run.system, run.drawn.settings, Path(requests), folder)
    else:
        run.check_list_lengths()
        shards = run.drawn.shards
        for results in run.judging.results:
            for stage in results.drawings:
                _ = stage.folder
    if images is None:
        return shards.folder
    progress, source = run.workspace.progress, digest(run.system.content)
    table = stored.write_picture_files(shards, folder, images, source=source, progress=progress)
    print(f"{len(shards):,} pictures as {images} files in {folder}: {table} says which is whose")
    return table


def evaluate(run: Experiment) -> Path:
    """Ranks before and after under every protocol and control: prints the tables, writes results.json."""
    run.check_evaluation()
    run.check_list_lengths()
    run.judging.train_apart()
    augment(run)
    settings = run.config.evaluation
    frame, ownership = stages.judged_frames(run.judging.results, run.judging.readings)
    bootstrap = {"resamples": settings.resamples, "confidence": settings.confidence, "seed": settings.seeds[0]}
    reward = next(iter(run.results.judges))
    rows = evaluation.rows_from_per_user(
        evaluation.in_table_order(frame, reward),
        run.catalogue.title,
        ownership=ownership,
        primary=settings.primary,
        reward=reward,
        **bootstrap,
    )
    diagnosis, of_generator = run.judging.possible_diagnosis, run.judging.possible_generator_diagnosis
    found = () if diagnosis is None else stages.joined_findings(diagnosis, of_generator, settings)
    decided = bootstrap | {"confidence": 1 - settings.alpha}
    judged = evaluation.Judged(frame, ownership, reward, f"{settings.primary}@{settings.k}", decided)
    verdicts = judged.verdicts(
        {results.system.label: results.system.learned_from_ranker for results in run.judging.results},
        smallest_gain=settings.smallest_gain,
        barren=evaluation.barren(found),
    )
    run.output.mkdir(parents=True, exist_ok=True)
    evaluation.Results(rows, verdicts, provenance(run), found).write(run.output / "results.json")
    evaluation.write_per_user(frame, run.output / "per_user.parquet")
    ownership.to_parquet(run.output / "ownership.parquet", index=False)
    print("\n" + reporting.format_verdicts(verdicts))
    print("\n" + reporting.format_tables(reporting.tables(rows)))
    return run.output / "results.json"


def plant(run: Experiment, sizes: Sequence[float] = (0.01, 0.02, 0.05, 0.1, 0.2)) -> Path:
    """With what probability this run would have found gains of known sizes; prints a table, writes planted.csv.

    The lists are those of the ranker that rewards, under ``candidates``; see `ragar_rec.evaluation.planted`.

    Args:
        run: whose lists.
        sizes: shares of NDCG@k with the original pictures.

    Raises:
        ValueError: no effect can be planted in these lists, or `evaluation.protocols` lacks `candidates`.
    """
    run.check_evaluation()
    if "candidates" not in run.config.evaluation.protocols:
        raise ValueError("plant re-ranks the lists of the protocol candidates: add it to evaluation.protocols")
    run.check_list_lengths()
    settings = run.config.evaluation
    lists, seed = run.results.reranked(), settings.seeds[0]
    table = evaluation.power_table(lists, sizes, k=settings.k, alpha=settings.alpha, seed=seed)
    run.output.mkdir(parents=True, exist_ok=True)
    table.to_csv(run.output / "planted.csv", index=False)
    print("\n" + reporting.format_planted(table, settings.k))
    return run.output / "planted.csv"


def recommend(
    run: Experiment,
    users: Path | str | None = None,
    lists: Path | str | None = None,
    k: int | None = None,
    original: bool = False,
) -> Path:
    """Everybody's top k with the original pictures, and after their top C got personalised ones; prints a summary.

    Args:
        run: whose ranker and generator.
        users: a CSV file with ``user_id``; by default everybody with a history.
        lists: the file, .csv or .parquet; by default ``output/recommendations.csv``.
        k: length of a list; by default ``evaluation.k``.
        original: the lists with the original pictures alone, for which no generator is needed.

    Raises:
        FileNotFoundError: there is no such file of users.
        ValueError: it names an unknown user (the line is named), a list is longer than the catalogue, the file has
            another suffix, or the ranker reads no pictures or cannot read new ones.
    """
    file = Path(lists or run.output / "recommendations.csv")
    length = k or run.config.evaluation.k
    reporting.check_suffix(file)
    if not original:
        run.check_reads_pictures()
    run.check_list_lengths()
    if users is not None and not Path(users).is_file():  # Before anything is trained.
        raise FileNotFoundError(f"no users at {users}: name a CSV file with the column user_id")
    ranker = run.ranker
    if not original:
        _ = ranker.reward  # Before the generator is trained: whether new pictures can be judged at all.
    dataset = ranker.dataset
    chosen = None if users is None else evaluation.read_users(Path(users), dataset)
    if original:
        before, after = stages.lists_of(ranker, chosen, length), None
    else:
        tokens = None if chosen is None else [str(token) for token in dataset.user_tokens[chosen]]
        before, after = run.new_candidate_pictures(tokens).lists(length)
    reporting.write_lists(reporting.lists_table(before, after), file)
    people = before["user"].nunique()
    print(f"{people:,} people, top {length} of {dataset.n_items - 1:,} items: {file}")
    print(reporting.lists_summary(before, after, dataset))
    return file


def store(run: Experiment, prune: bool = False, dry_run: bool = False, keep: Sequence[Path | str] = ()) -> Path:
    """What stands in the store, how large it is, and what this config uses; builds nothing.

    Args:
        run: whose store.
        prune: remove what neither this config nor one of ``keep`` uses.
        dry_run: say what ``prune`` would remove.
        keep: further configs, files or presets, on the same data and weights.

    Raises:
        FileNotFoundError: a config, or raw data or weights that one of them needs, cannot be found.
    """
    space = run.workspace
    # Looked up anew: a stage that this run has built asks the store no more.
    used = Experiment(run.config, run.output, data=space.data, weights=space.weights).used_folders()
    for config in keep:
        used |= Experiment.open(config, (), space.data, space.weights, run.output).used_folders()
    entries = stored_entries(run.store.root)
    print(reporting.store_table(entries, used))
    if prune or dry_run:
        for line in remove_unused(entries, used, dry_run=dry_run):
            print(line)
    return run.store.root


def report(run: Experiment) -> Path:
    """One self-contained HTML page."""
    page = run.report(evaluation.Results.read(evaluate(run)))
    shutil.copyfile(page.folder / "report.html", run.output / "report.html")
    print(f"\nThe report: {run.output / 'report.html'}")
    return run.output / "report.html"


def demo(run: Experiment) -> Path:
    """Everything, with a sentence on its scale."""
    settings = run.config.evaluation
    run.check_evaluation()
    print(
        f"{run.catalogue.title}: {settings.users} people, C = {settings.candidates}, "
        f"{run.system.description}; small on purpose. Finished stages are kept in {run.store.root}."
    )
    prepare(run)
    run.check_list_lengths()
    run.judging.train_apart()
    train_ranker(run)
    if run.judging.possible_diagnosis is not None:
        diagnose(run)
    train_generator(run)
    return report(run)
