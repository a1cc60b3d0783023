"""Delta R of a generator under the protocol `reference`, without the other protocols and controls of an evaluation."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from generation.ragar.fixed_shape import FixedShape
from ragar_rec.augment import augment, encode_stored_images
from ragar_rec.evaluation.controls import PersonalFeatures
from ragar_rec.evaluation.frames import protocol_frame
from ragar_rec.evaluation.per_user import OWN
from ragar_rec.evaluation.protocols import Reference
from ragar_rec.experiment import Experiment
from ragar_rec.store.hashing import digest
from ragar_rec.store.shards import ImageShards
from ragar_rec.store.store import KEY_LENGTH, content
from recsys.scoring.statistics import Interval, interval, paired_difference


def delta_r(run: Experiment, trained: Path, folder: Path) -> pd.Series:
    """Every user's Delta R under the protocol `reference` (seed: the first of `evaluation.seeds`).

    Args:
        run: whose users and ranker.
        trained: a generator's weights: the folder of a warm start or of a system.
        folder: where its pictures are kept; a hash of what they are made from is added to the name.

    Returns:
        Values by user.
    """
    settings, dataset, progress = run.config.evaluation, run.reward_ranker.dataset, run.workspace.progress
    setting = run.drawn.setting(run.reward_ranker, settings.seeds[0])
    protocol = Reference(settings.targets)
    pairs = [
        (task.user, int(item))
        for task in setting.tasks
        for item in protocol.items(task)
        if str(dataset.item_tokens[item]) in run.pictures.pictured
    ]
    requests = [setting.request_for(pair) for pair in pairs]
    shards = _shards(run, trained, folder, setting.seed)
    generator = FixedShape(run.ragar.load(trained), settings.batch_size)
    augment(generator, requests, shards, progress=progress)
    features = encode_stored_images(run.reward_ranker.reward, shards, requests, progress=progress)
    source = PersonalFeatures(dict(zip(pairs, features, strict=True)), run.reward_ranker.view.feature_dim)
    frame = protocol_frame(
        setting.tasks,
        [protocol],
        {OWN: [source]},
        run.reward_ranker.view,
        dataset,
        k=settings.k,
        system=run.ragar.label,
        judge=run.reward_ranker.label,
        seed=setting.seed,
        progress=progress,
    )
    rows = pd.DataFrame(frame[frame["metric"] == "delta_r"])
    return pd.Series(np.asarray(rows["value"]), index=pd.Index(rows["user"]))


def compare(chosen: pd.Series, like_pmg: pd.Series) -> dict[str, dict[str, float]]:
    """Means with intervals, and the paired difference."""
    intervals: dict[str, Interval] = {
        "chosen": interval(chosen.to_numpy()),
        "like PMG": interval(like_pmg.to_numpy()),
        "chosen - like PMG": paired_difference(chosen, like_pmg),
    }
    return {name: asdict(it) for name, it in intervals.items()}


def _shards(run: Experiment, trained: Path, folder: Path, seed: int) -> ImageShards:
    """A folder of these very pictures: another generator, seed or batch size gets another one."""
    parts = [content(trained), run.components.content]
    if run.ragar.warm.settings.asks_taste:  # then the rewarding ranker takes part in every picture
        parts.append(run.ragar.rewards.content)
    made_by = {"generator": digest(parts), "seed": seed, "batch_size": run.config.evaluation.batch_size}
    return ImageShards(folder.with_name(f"{folder.name}-{digest(made_by)[:KEY_LENGTH]}"), made_by)
