"""Augmentation: which pictures the evaluation needs, made by any generator, kept in shards, and read by the ranker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from tqdm.auto import tqdm

from generation.request import Generator, Request
from ragar_rec.evaluation.reward import RankerReward
from ragar_rec.store.shards import ImageShards
from recsys import distributed

BATCH = 64


Plan = list[tuple[Path, list[Request]]]
"""Shards to be written, each with its requests."""


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
