"""Augmentation: which pictures the evaluation needs, made by any generator, kept in shards, and read by the ranker."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from tqdm.auto import tqdm

from generation.request import Generator, Request
from ragar_rec.controls import Strangers
from ragar_rec.people import known_history, request_seed
from ragar_rec.protocols import Reranking, Task
from ragar_rec.reward import RankerReward
from ragar_rec.shards import ImageShards
from recsys import distributed
from recsys.recbole import Dataset

BATCH = 64
Pair = tuple[int, int]
"""(user, item), internal ids."""
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
    generator: Generator, requests: Sequence[Request], shards: ImageShards, *, batch_size: int = BATCH,
    progress: bool = True,
) -> None:  # fmt: skip
    """Make the pictures that are not there yet; stopped and called again, it goes on where it was."""
    draw(generator, begin(requests, shards, batch_size), shards, progress=progress)
    shards.write_manifest(requests)


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
    reward: RankerReward, images: Float[Tensor, "n 3 height width"] | UInt8[Tensor, "n 3 height width"], *,
    progress: bool = True, description: str = "features of pictures",
) -> Float[Tensor, "n dim"]:  # fmt: skip
    """Pictures as the ranker sees them, a block at a time."""
    parts = []
    for block in tqdm(images.split(BATCH), desc=description, unit=f"x{BATCH}", disable=not progress):
        with torch.no_grad():
            parts.append(reward.features(block.float() / 255 if block.dtype == torch.uint8 else block))
    return torch.cat(parts)
