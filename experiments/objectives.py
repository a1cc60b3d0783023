"""What each objective and noise mode learns, and whether retrieval and reward beat a generator without them.

    python experiments/objectives.py --config experiments/configs/movie-posters.yaml --data <folder> --weights <folder>

People are split into training, validation and test for the generator (`reflection.held_out`). Every setting below is
trained on the first; validation picks the one whose pictures score best there (`chosen`), and the test people are the
table: the score of a person's own picture (v_gen) less that of the reference's own (v_ref), of the one from E_g alone
(v_glob), of the generator before any reward (untrained) and of the picture made for somebody else (shuffled_user), in
standard deviations of the person's scores, with 95 % bootstrap intervals over people; and the shares of eq. 10's ranks
of v_gen among v_ref, v_glob and v_gen. Delta R under the protocol `reference` (privileged: the target is known) is
measured for the chosen setting and for a variant like PMG: the whole history with equal weights, no reward.

Writes <output>/objectives.json after every setting and <output>/objectives/<setting>.parquet. Stopped and started
again, it continues; with some of the settings (`--settings`) the rows of the others stay and are chosen among, if they
were measured under the same config and data. Hardware: two CPU cores; minutes and numbers: docs/results.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from generation.ragar.fixed_shape import FixedShape
from ragar_rec.augment import augment, encode_stored
from ragar_rec.evaluation.controls import Personal, Strangers
from ragar_rec.evaluation.frames import generator_frame, protocol_frame, stranger_requests
from ragar_rec.evaluation.people import training_requests
from ragar_rec.evaluation.per_user import OWN
from ragar_rec.evaluation.protocols import Reference
from ragar_rec.pipeline import Run, provenance
from ragar_rec.store.hashing import digest
from ragar_rec.store.shards import ImageShards
from ragar_rec.store.store import KEY_LENGTH, content
from recsys.recbole import checkpoint
from recsys.scoring.statistics import Interval, interval, paired_difference

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "reinforce, low_rank": {"objective": "reinforce", "noise": "low_rank", "antithetic": False},
    "reinforce, low_rank, antithetic": {"objective": "reinforce", "noise": "low_rank", "antithetic": True},
    "reinforce, token_shared": {"objective": "reinforce", "noise": "token_shared", "antithetic": False},
    "reinforce, full": {"objective": "reinforce", "noise": "full", "antithetic": False},
    "path": {"objective": "path"},
    "path, LoRA": {"objective": "path", "lora_rank": 4},
    "paper_literal, low_rank": {"objective": "paper_literal", "noise": "low_rank"},
}
"""Keys of the section `reflection` that a setting changes."""

PMG_LIKE = {"k": 20, "history_length": 20, "temperature": 1e6}
"""Keys of the section `generator` without retrieval: the whole history with equal weights. It gets no reward."""

RIVALS = {"v_ref": "reference_image", "v_glob": "global", "untrained": "untrained", "shuffled_user": "shuffled_user"}


@dataclass(frozen=True)
class Args:
    """What the experiment takes; anything else on the command line overrides the config."""

    config: Path = Path(__file__).parent / "configs" / "movie-posters.yaml"
    data: Path | None = None
    weights: Path | None = None
    output: Path = Path("output") / "objectives"
    settings: tuple[str, ...] = tuple(SETTINGS)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, write and print the table."""
    args, overrides = parse(arguments)

    def run(section: str, changes: Mapping[str, Any]) -> Run:
        more = [f"--{section}.{key}={value}" for key, value in changes.items()]
        return Run.open(args.config, [*overrides, *more], args.data, args.weights, args.output)

    file = args.output / "objectives.json"
    before = made_from(run("reflection", {}))
    under = {name: digest([run("reflection", it).config.part(), before]) for name, it in SETTINGS.items()}
    rows = rows_there(file, under)
    for name in args.settings:
        setting = run("reflection", SETTINGS[name])
        frame = scores(setting)
        path = args.output / "objectives" / f"{name.replace(', ', '-')}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(path)
        rows[name] = {"under": under[name]} | {part: summary(rows_of) for part, rows_of in frame.groupby("part")}
        rows = {known: rows[known] for known in SETTINGS if known in rows}
        checkpoint.write_json(file, {"run": provenance(setting), "settings": rows})
        print(f"\n{markdown({name: rows[name]})}", flush=True)
    chosen = max(rows, key=lambda name: rows[name]["valid"]["score"]["value"])
    ours, like_pmg = run("reflection", SETTINGS[chosen]), run("generator", PMG_LIKE)
    found = compared(
        delta_r(ours, ours.generator_folder, args.output / "pictures" / chosen.replace(", ", "-")),
        delta_r(like_pmg, like_pmg.warm_folder, args.output / "pictures" / "pmg-like"),
    )
    checkpoint.write_json(
        file, {"run": provenance(ours), "settings": rows, "chosen": chosen, "delta_r under reference": found}
    )
    print(f"\n{markdown(rows)}\n\nchosen on validation: {chosen}\n\nDelta R under reference:")
    for name, it in found.items():
        print(f"  {name}: {it['value']:+.4f} [{it['low']:+.4f}, {it['high']:+.4f}], {it['n']} people")


def parse(arguments: Sequence[str] | None = None) -> tuple[Args, list[str]]:
    """The command line: ours, and what is left for the config."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    for name in ("config", "data", "weights", "output"):
        parser.add_argument(f"--{name}", type=Path, default=getattr(Args, name))
    parser.add_argument(
        "--settings",
        type=lambda text: tuple(text.split(";")),
        default=Args.settings,
        help="some of the settings, by semicolon",
    )
    options, overrides = parser.parse_known_args(arguments)
    args = Args(**vars(options))
    if unknown := set(args.settings) - set(SETTINGS):
        parser.error(f"no setting is called {', '.join(sorted(unknown))}; there are {'; '.join(SETTINGS)}")
    return args, overrides


def made_from(run: Run) -> dict[str, str]:
    """Contents of what a setting's numbers depend on beside the config."""
    return {"ranker": run.ranker.content, "features": content(run.features.folder), **run.components.content}


def rows_there(file: Path, under: Mapping[str, str]) -> dict[str, Any]:
    """The rows of earlier settings, of those measured under what the settings mean now."""
    rows = json.loads(file.read_text(encoding="utf-8"))["settings"] if file.is_file() else {}
    return {name: row for name, row in rows.items() if name in under and row.get("under") == under[name]}


def scores(run: Run) -> pd.DataFrame:
    """Scores of own and rival pictures, a line a person and control; column `part` is valid or test."""
    seed, frames = run.config.evaluation.seeds[0], []
    untrained = run.system.warm.load(run.system.warm.folder)
    for part in ("valid", "test"):
        people = getattr(run.system.people, part)
        requests = training_requests(run.ranker.dataset, people, run.pictures.pictured, seed)
        others = stranger_requests(requests, run.ranker.dataset, Strangers(run.ranker.dataset, seed, people), seed)
        frame = generator_frame(
            run.generator,
            untrained,
            requests,
            others,
            run.ranker.reward,
            judge=run.ranker.label,
            seed=seed,
            progress=run.progress,
        )
        frames.append(frame.assign(part=part))
    return pd.concat(frames, ignore_index=True)


def summary(frame: pd.DataFrame) -> dict[str, Any]:
    """Mean score of v_gen, its paired gains over the rivals, and the shares of its ranks 1, 2 and 3 (eq. 10)."""
    table = frame.pivot(index="user", columns="control", values="value")
    score = {control: pd.Series(table[control]) for control in (OWN, *RIVALS.values())}
    gains = {name: asdict(paired_difference(score[OWN], score[rival])) for name, rival in RIVALS.items()}
    ranks = rank_shares(*(np.asarray(score[control]) for control in (OWN, RIVALS["v_ref"], RIVALS["v_glob"])))
    return {"score": asdict(interval(np.asarray(score[OWN]))), "gains": gains, "ranks": ranks}


def rank_shares(gen: np.ndarray, *rivals: np.ndarray) -> list[float]:
    """Shares of people for whom v_gen is first, second and third among the three; ties count against it."""
    above = np.sum([rival >= gen for rival in rivals], axis=0)
    return [float(np.mean(above == place)) for place in range(3)]


def delta_r(run: Run, trained: Path, folder: Path) -> pd.Series:
    """Everybody's Delta R under the protocol `reference` (seed: the first of `evaluation.seeds`).

    Args:
        run: whose people and ranker.
        trained: the generator's stage.
        folder: where its pictures are kept; what they are made from is added to the name.
    """
    settings = run.config.evaluation
    setting = run.drawn.setting(run.ranker, settings.seeds[0])
    protocol = Reference(settings.targets)
    pairs = [
        (task.user, int(item))
        for task in setting.tasks
        for item in protocol.items(task)
        if str(run.ranker.dataset.item_tokens[item]) in run.pictures.pictured
    ]
    requests = [setting.requests(pair) for pair in pairs]
    made_by = {
        "generator": digest([content(trained), run.components.content]),
        "seed": setting.seed,
        "batch_size": settings.batch_size,
    }
    shards = ImageShards(folder.with_name(f"{folder.name}-{digest(made_by)[:KEY_LENGTH]}"), made_by)
    augment(FixedShape(run.system.warm.load(trained), settings.batch_size), requests, shards, progress=run.progress)
    features = encode_stored(run.ranker.reward, shards, requests, progress=run.progress)
    source = Personal(dict(zip(pairs, features, strict=True)), run.ranker.reward.encoder.dim)
    frame = protocol_frame(
        setting.tasks,
        [protocol],
        {OWN: source},
        run.ranker.view,
        run.ranker.dataset,
        k=settings.k,
        judge=run.ranker.label,
        seed=setting.seed,
        progress=run.progress,
    )
    found = pd.DataFrame(frame[frame["metric"] == "delta_r"])
    return pd.Series(np.asarray(found["value"]), index=pd.Index(found["user"]))


def compared(ours: pd.Series, like_pmg: pd.Series) -> dict[str, dict[str, float]]:
    """Means with intervals, and the paired difference."""
    parts: dict[str, Interval] = {
        "chosen": interval(ours.to_numpy()),
        "like PMG": interval(like_pmg.to_numpy()),
        "chosen - like PMG": paired_difference(ours, like_pmg),
    }
    return {name: asdict(it) for name, it in parts.items()}


def markdown(rows: Mapping[str, Any]) -> str:
    """The table of the test people, with the mean score on validation in front."""
    titles = ("setting", "validation", *(f"v_gen − {name}" for name in RIVALS), "first / second / third")
    lines = [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]
    for name, row in rows.items():
        gains = [f"{it['value']:+.4f} [{it['low']:+.4f}, {it['high']:+.4f}]" for it in row["test"]["gains"].values()]
        ranks = " / ".join(f"{100 * share:.0f} %" for share in row["test"]["ranks"])
        valid = f"{row['valid']['score']['value']:+.4f}"
        lines.append(f"| {' | '.join((name, valid, *gains, ranks))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
