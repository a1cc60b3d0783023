"""Augmentation: generates the pictures that the evaluation needs, stores them in shards, encodes them for a ranker."""

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
"""Pictures that are generated, or read and encoded, at a time."""

Plan = list[tuple[Path, list[Request]]]
"""Shards that are to be written, each with its requests."""


def augment(
    generator: Generator,
    requests: Sequence[Request],
    shards: ImageShards,
    *,
    batch_size: int = BATCH,
    progress: bool = True,
) -> None:
    """Generate the pictures that are still missing; after a stop, a second call continues where the first one was.

    Several processes divide the work: each calls this with a generator of its own, the same requests and the same
    folder. Afterwards each can read all pictures.
    """
    distributed.barrier()  # All have opened the folder, and nobody writes yet.
    first = distributed.rank() == 0
    plan = distributed.broadcast(plan_shards(requests, shards, batch_size) if first else [])
    draw_shards(generator, process_share(plan), shards, progress=progress and first)
    distributed.barrier()
    shards.refresh()
    if first:
        shards.write_manifest(requests)
    distributed.barrier()


def plan_shards(requests: Sequence[Request], shards: ImageShards, batch_size: int) -> Plan:
    """Plan the shards that are missing, for :func:`draw_shards`, and remove what a kill left half written.

    Requests for one item, and among them those of one preference, stand together: what they share is encoded once.
    """
    shards.sweep()
    ordered = sorted(requests, key=lambda request: (request.reference, request.history, request.user, request.seed))
    return shards.plan(ordered, batch_size)


def draw_shards(generator: Generator, plan: Plan, shards: ImageShards, *, progress: bool = True) -> None:
    """Generate the pictures of these shards and write them, one shard at a time."""
    size = max((len(batch) for _, batch in plan), default=0)
    for shard, batch in tqdm(plan, desc="pictures", unit=f"x{size}", disable=not progress or not plan):
        shards.write(batch, generator.generate(batch), shard)


def process_share(plan: Plan) -> Plan:
    """This process's share of the plan: consecutive shards, whose requests have the most in common."""
    rank, world_size = distributed.rank(), distributed.world_size()
    return plan[len(plan) * rank // world_size : len(plan) * (rank + 1) // world_size]


def encode_images(
    reward: RankerReward,
    images: Float[Tensor, "n 3 height width"] | UInt8[Tensor, "n 3 height width"],
    *,
    progress: bool = True,
    description: str = "features of pictures",
) -> Float[Tensor, "n dim"]:
    """Encode pictures to the features that the ranker reads, :data:`BATCH` at a time."""
    features = []
    for block in tqdm(images.split(BATCH), desc=description, unit=f"x{BATCH}", disable=not progress):
        with torch.no_grad():
            features.append(reward.features(block.float() / 255 if block.dtype == torch.uint8 else block))
    return torch.cat(features)


def encode_stored_images(
    reward: RankerReward, shards: ImageShards, requests: Sequence[Request], *, progress: bool = True
) -> Float[Tensor, "n dim"]:
    """Encode the stored pictures of these requests, of which :data:`BATCH` are in memory at a time."""
    blocks = [requests[start : start + BATCH] for start in range(0, len(requests), BATCH)]
    bar = tqdm(blocks, desc="features of generated pictures", unit=f"x{BATCH}", disable=not progress)
    features = [encode_images(reward, shards.read(block), progress=False) for block in bar]
    return torch.cat(features) if features else torch.empty(0, reward.view.feature_dim)
