import csv
import multiprocessing
import os
import random
import resource
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from generation.request import Request
from ragar_rec.augment import augment, draw_shards, encode_images, encode_stored_images, plan_shards, process_share
from ragar_rec.evaluation.reward import RankerReward
from ragar_rec.store.shards import ImageShards
from recsys import distributed


class Painter:
    """A grey picture for each request, its shade by the seed; Ctrl-C is pressed in a batch of one's choice."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at, self.batches, self.asked = stop_at, 0, 0

    def generate(self, requests: Sequence[Request]) -> Float[Tensor, "n 3 height width"]:
        self.batches += 1
        self.asked += len(requests)
        if self.batches == self.stop_at:
            raise KeyboardInterrupt
        return torch.stack([torch.full((3, 4, 4), request.seed % 256 / 255) for request in requests])


def asked(count: int) -> list[Request]:
    return [Request(f"u{n}", f"i{n % 3}", (), seed=n) for n in range(count)]


def test_stored_pictures_are_read_and_encoded_a_block_at_a_time(tmp_path, monkeypatch):
    """Their shades, in the order that is asked for, of 150 pictures in blocks of 64, 64 and 22."""
    requests, shards, read = asked(150), ImageShards(tmp_path, {}), []
    augment(Painter(), requests, shards, progress=False)
    whole = shards.read

    class Shade(RankerReward):
        def __init__(self) -> None:
            pass

        def features(self, images: Tensor) -> Tensor:
            return images.mean((1, 2, 3))[:, None]

    def counted(some: Sequence[Request]) -> Tensor:
        read.append(len(some))
        return whole(some)

    monkeypatch.setattr(shards, "read", counted)
    found = encode_stored_images(Shade(), shards, requests[::-1], progress=False)
    assert read == [64, 64, 22]
    assert (found[:, 0] * 255).round().tolist() == list(range(149, -1, -1))
    assert torch.equal(found, encode_images(Shade(), whole(requests[::-1]), progress=False))


def test_an_interrupted_augmentation_goes_on_without_duplicate_or_hole(tmp_path):
    """Ten pictures in batches of four; stopped in the second batch, four are kept and six are left."""
    requests = asked(10)
    sampling_backbone = Painter(stop_at=2)
    with pytest.raises(KeyboardInterrupt):
        augment(sampling_backbone, requests, ImageShards(tmp_path, {"seed": 0}), batch_size=4, progress=False)
    shards = ImageShards(tmp_path, {"seed": 0})
    assert (len(shards), len(shards.missing(requests))) == (4, 6)
    sampling_backbone = Painter()
    augment(sampling_backbone, requests, shards, batch_size=4, progress=False)
    assert sampling_backbone.asked == 6
    shards = ImageShards(tmp_path, {"seed": 0})
    assert len(shards) == len(set(shards.ids)) == 10
    assert (shards.read(requests)[:, 0, 0, 0] * 255).round().tolist() == list(range(10))
    augment(Painter(stop_at=1), requests, shards, batch_size=4, progress=False)  # nothing is left to ask for


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_order_of_the_requests_changes_no_byte(tmp_path):
    """Requests for one item, and among them those with one history, stand together in the shards."""
    requests = [Request(f"u{n}", f"i{n % 2}", ("h",) * (n % 3), seed=n) for n in range(12)]
    mixed = random.Random(0).sample(requests, 12)
    for name, order in (("one", requests), ("other", mixed)):
        augment(Painter(), order, ImageShards(tmp_path / name, {}), batch_size=4, progress=False)
    assert files(tmp_path / "one") == files(tmp_path / "other")
    with (tmp_path / "one" / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["item"] for row in rows] == ["i0"] * 6 + ["i1"] * 6
    assert [row["user"] for row in rows[:6]] == ["u0", "u6", "u10", "u4", "u2", "u8"]  # of 0, 0, 1, 1, 2, 2 items


def one_of(number: int, of: int, port: int, folder: Path) -> None:
    """One of several processes that a launcher started, in a program of one's own."""
    place = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": of, "MASTER_PORT": port}
    os.environ |= {"TORCHELASTIC_RUN_ID": "test", "MASTER_ADDR": "127.0.0.1"} | {k: str(v) for k, v in place.items()}
    sampling_backbone, shards = Painter(), ImageShards(folder, {})
    augment(sampling_backbone, asked(10), shards, batch_size=2, progress=False)
    assert sampling_backbone.batches == [2, 3][number]
    assert (shards.read(asked(10))[:, 0, 0, 0] * 255).round().tolist() == list(range(10))
    distributed.destroy()


def test_a_program_of_ones_own_shares_the_pictures_among_its_processes(tmp_path):
    """Ten requests in batches of two: the first process draws two shards, the second three; both can read all."""
    augment(Painter(), asked(10), ImageShards(tmp_path / "one", {}), batch_size=2, progress=False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=one_of, args=(number, 2, port, tmp_path / "two")) for number in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert files(tmp_path / "one") == files(tmp_path / "two")


@pytest.mark.parametrize("of", [2, 3, 7])
def test_each_process_draws_its_part_and_all_together_the_whole(tmp_path, monkeypatch, of):
    """Ten requests in batches of two are five shards; seven processes leave two idle."""
    requests = asked(10)
    augment(Painter(), requests, ImageShards(tmp_path / "one", {}), batch_size=2, progress=False)
    shards = ImageShards(tmp_path / "many", {})
    plan, drawn = plan_shards(requests, shards, 2), []
    monkeypatch.setattr(distributed, "world_size", lambda: of)
    for number in reversed(range(of)):
        monkeypatch.setattr(distributed, "rank", lambda number=number: number)
        drawn.append(len(process_share(plan)))
        draw_shards(Painter(), process_share(plan), ImageShards(tmp_path / "many", {}), progress=False)
    ImageShards(tmp_path / "many", {}).write_manifest(requests)
    assert files(tmp_path / "one") == files(tmp_path / "many")
    assert sum(drawn) == 5
    assert max(drawn) - min(drawn) <= 1


def test_a_disk_that_fills_up_keeps_what_is_whole_and_goes_on_afterwards(tmp_path):
    """The limit for files falls to 300 bytes before the third shard, as if others had taken the room."""
    requests, limits = asked(20), resource.getrlimit(resource.RLIMIT_FSIZE)

    class Filling(Painter):
        def generate(self, requests: Sequence[Request]) -> Float[Tensor, "n 3 height width"]:
            if self.batches == 2:
                resource.setrlimit(resource.RLIMIT_FSIZE, (300, limits[1]))
            return super().generate(requests)

    augment(Painter(), requests, ImageShards(tmp_path / "whole", {}), batch_size=4, progress=False)
    shards = ImageShards(tmp_path / "full", {})
    try:
        with pytest.raises(OSError, match="make room and run the same command"):
            augment(Filling(), requests, shards, batch_size=4, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(files(tmp_path / "full")) == ["00000.safetensors", "00001.safetensors", "provenance.json"]
    sampling_backbone = Painter()
    augment(sampling_backbone, requests, ImageShards(tmp_path / "full", {}), batch_size=4, progress=False)
    assert sampling_backbone.asked == 12
    assert files(tmp_path / "whole") == files(tmp_path / "full")
