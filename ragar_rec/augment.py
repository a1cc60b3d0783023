"""Augmentation: which pictures the evaluation needs, made by any generator, kept in shards, and read by the ranker."""

from __future__ import annotations

import csv
from collections.abc import Container, Iterable, Sequence
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from tqdm.auto import tqdm

from generation.request import Generator, Request
from ragar_rec.evaluation.controls import Strangers
from ragar_rec.evaluation.people import known_history, known_people, request_seed
from ragar_rec.evaluation.protocols import Reranking, Task
from ragar_rec.evaluation.reward import RankerReward
from ragar_rec.store.shards import ImageShards
from recsys import distributed
from recsys.recbole.dataset import Dataset

BATCH = 64
Pair = tuple[int, int]
"""(user, item), internal ids."""
Named = tuple[str, str, str]
"""Where something was asked for, in words, and the user and the item as they were typed."""
COLUMNS = ("user_id", "item_id")
"""Of a file of requests."""
Plan = list[tuple[Path, list[Request]]]
"""Shards to be written, each with its requests."""


class Requests:
    """Turns (user, item) pairs into requests: the history is what is known of the user when the test begins.

    Args:
        seed: of the run; each request has a seed of its own that follows from it, user and item.
    """

    def __init__(self, dataset: Dataset, seed: int) -> None:
        self.dataset, self.seed = dataset, seed
        self.histories: dict[int, tuple[str, ...]] = {}

    def __call__(self, pair: Pair) -> Request:
        user, item = pair
        if user not in self.histories:
            self.histories[user] = known_history(self.dataset, user)
        names = str(self.dataset.user_tokens[user]), str(self.dataset.item_tokens[item])
        return Request(*names, self.histories[user], request_seed(self.seed, *names))


def read_requests(file: Path) -> list[Named]:
    """The lines of a CSV file with the columns ``user_id`` and ``item_id``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no CSV, lacks a column or a value, or holds no line.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no requests at {file}: name a CSV file with the columns {' and '.join(COLUMNS)}")
    found: list[Named] = []
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            table = csv.DictReader(text)
            names = [name.strip() for name in table.fieldnames or []]
            table.fieldnames = names
            if missing := [column for column in COLUMNS if column not in names]:
                raise ValueError(f"{file} has no column {', '.join(missing)}; its columns are {', '.join(names)}")
            for row in table:
                user, item = ((row[column] or "").strip() for column in COLUMNS)
                if not (user and item):
                    raise ValueError(f"{file}, line {table.line_num}: no {'item_id' if user else 'user_id'}")
                found.append((f"{file}, line {table.line_num}", user, item))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{file} does not read as CSV ({error})") from error
    if not found:
        raise ValueError(f"{file} holds no request below its columns' names")
    return found


def named_pairs(named: Sequence[Named], dataset: Dataset, pictured: Container[str]) -> list[Pair]:
    """The (user, item) pairs of :func:`read_requests`, each once.

    Args:
        named: what was read.
        dataset: for the numbering.
        pictured: items that have a picture.

    Raises:
        ValueError: a user or an item is unknown, the user has no history, or the item no picture; the sentence names
            the line.
    """
    known = set(known_people(dataset).tolist())
    pairs: dict[Pair, None] = {}
    for where, user, item in named:
        ids: list[int] = []
        for kind, token, number in (("user", user, dataset.user_id), ("item", item, dataset.item_id)):
            try:
                ids.append(number(token))
            except KeyError:
                raise ValueError(f"{where}: the prepared data set has no {kind} {token!r}") from None
        if ids[0] not in known:
            raise ValueError(f"{where}: user {user!r} has no interaction before the test, so that no taste is known")
        if item not in pictured:
            raise ValueError(f"{where}: item {item!r} has no picture, so that none can be made of it")
        pairs[ids[0], ids[1]] = None
    return list(pairs)


def wanted_pairs(
    tasks: Sequence[Task], protocols: Iterable[Reranking], strangers: Strangers, pictured: set[int]
) -> list[Pair]:
    """Every (user, item) whose picture some protocol shows: to the user herself, or to somebody in her place."""
    pairs: dict[Pair, None] = {}
    for protocol in protocols:
        for task in tasks:
            items = protocol.items(task)
            other = strangers(task.user, items)
            for item in items.tolist():
                if item in pictured:
                    pairs[task.user, item] = None
                    pairs[other, item] = None
    return list(pairs)


def augment(
    generator: Generator,
    requests: Sequence[Request],
    shards: ImageShards,
    *,
    batch_size: int = BATCH,
    progress: bool = True,
) -> None:
    """Make the pictures that are not there yet; stopped and called again, it goes on where it was.

    Several processes share them: each calls this with a generator of its own, the same requests and the same folder.
    Afterwards each can read all pictures.
    """
    distributed.meet()  # All have opened the folder, and nobody writes yet.
    first = distributed.rank() == 0
    plan = distributed.from_first(begin(requests, shards, batch_size) if first else [])
    draw(generator, share(plan), shards, progress=progress and first)
    distributed.meet()
    shards.refresh()
    if first:
        shards.write_manifest(requests)
    distributed.meet()


def begin(requests: Sequence[Request], shards: ImageShards, batch_size: int) -> Plan:
    """The shards that are missing, for :func:`draw`; what a kill left half written is removed.

    Requests for one item, and among them those of one preference, come together: what they share is encoded once.
    """
    shards.sweep()
    together = sorted(requests, key=lambda one: (one.reference, one.history, one.user, one.seed))
    return shards.plan(together, batch_size)


def draw(generator: Generator, plan: Plan, shards: ImageShards, *, progress: bool = True) -> None:
    """Make the pictures of these shards."""
    size = max((len(batch) for _, batch in plan), default=0)
    for shard, batch in tqdm(plan, desc="pictures", unit=f"x{size}", disable=not progress or not plan):
        shards.write(batch, generator.generate(batch), shard)


def share(plan: Plan) -> Plan:
    """This process's part of the plan: neighbours, which have the most in common."""
    here, of = distributed.rank(), distributed.count()
    return plan[len(plan) * here // of : len(plan) * (here + 1) // of]


def encode(
    reward: RankerReward,
    images: Float[Tensor, "n 3 height width"] | UInt8[Tensor, "n 3 height width"],
    *,
    progress: bool = True,
    description: str = "features of pictures",
) -> Float[Tensor, "n dim"]:
    """Pictures as the ranker sees them, a block at a time."""
    parts = []
    for block in tqdm(images.split(BATCH), desc=description, unit=f"x{BATCH}", disable=not progress):
        with torch.no_grad():
            parts.append(reward.features(block.float() / 255 if block.dtype == torch.uint8 else block))
    return torch.cat(parts)


def encode_stored(
    reward: RankerReward, shards: ImageShards, requests: Sequence[Request], *, progress: bool = True
) -> Float[Tensor, "n dim"]:
    """As :func:`encode`, the pictures of these requests, of which a block at a time is read."""
    blocks = [requests[start : start + BATCH] for start in range(0, len(requests), BATCH)]
    bar = tqdm(blocks, desc="features of generated pictures", unit=f"x{BATCH}", disable=not progress)
    parts = [encode(reward, shards.read(block), progress=False) for block in bar]
    return torch.cat(parts) if parts else torch.empty(0, reward.encoder.dim)
