import csv
import multiprocessing
import os
import random
import re
import resource
import socket
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from generation.request import Request
from ragar_rec.augment import augment, begin, draw, encode, encode_stored, share
from ragar_rec.evaluation import requests as requests_module
from ragar_rec.evaluation.controls import Strangers
from ragar_rec.evaluation.people import known_history
from ragar_rec.evaluation.protocols import Candidates, Reference
from ragar_rec.evaluation.requests import Requests, named_pairs, read_requests, wanted_pairs
from ragar_rec.evaluation.reward import RankerReward
from ragar_rec.store.shards import ImageShards
from recsys import distributed
from recsys.recbole.dataset import Dataset
from toy_scores import toy_task


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


def test_wanted_are_the_own_pictures_and_those_made_for_the_stranger(dataset: Dataset):
    """Reference asks for the target 2, candidates for the top two, 1 and 3; 3 has no picture."""
    task = toy_task([0.0, *(30.0 - n for n in range(dataset.n_items - 1))], targets=[5], seen=[2])
    strangers = Strangers(dataset, 0, range(1, 31))
    protocols = [Reference(), Candidates(2)]
    assert [protocol.items(task).tolist() for protocol in protocols] == [[5], [1, 3]]
    other, another = (strangers(task.user, protocol.items(task)) for protocol in protocols)
    assert wanted_pairs([task], protocols, strangers, {1, 5}) == [(1, 5), (other, 5), (1, 1), (another, 1)]
    assert wanted_pairs([task, task], protocols, strangers, {1, 5}) == [(1, 5), (other, 5), (1, 1), (another, 1)]
    assert wanted_pairs([task], protocols, strangers, set()) == []


def test_requests_know_what_is_known_and_have_seeds_of_their_own(dataset: Dataset):
    make = Requests(dataset, seed=0)
    request = make((3, 7))
    assert request.user == dataset.user_tokens[3]
    assert request.reference == dataset.item_tokens[7]
    assert request.history == known_history(dataset, 3)
    assert request == Requests(dataset, seed=0)((3, 7))
    seeds = {make((user, item)).seed for user in (3, 4) for item in (7, 8)} | {Requests(dataset, seed=1)((3, 7)).seed}
    assert len(seeds) == 5


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("user_id,item\n3,7\n", "wanted.csv has no column item_id; its columns are user_id, item"),
        ("", "wanted.csv has no column user_id, item_id; its columns are "),
        ("user_id,item_id\n\n", "wanted.csv holds no request below its columns' names"),
        ("user_id,item_id\n3,7\n3\n", "wanted.csv, line 3: no item_id"),
        ("user_id,item_id\n3,7\n\n,7\n", "wanted.csv, line 4: no user_id"),
        ("user_id,item_id\n3,7\n99,7\n", "wanted.csv, line 3: the prepared data set has no user '99'"),
        ('user_id,item_id\n3,"Toy Story, The"\n', "line 2: the prepared data set has no item 'Toy Story, The'"),
        ("item_id,user_id,note\n7,3,x\n24,3,y\n", "line 3: item '24' has no picture, so that none can be made of it"),
    ],
)
def test_a_request_that_cannot_be_answered_is_named_with_its_line(dataset: Dataset, tmp_path, text, sentence):
    file = tmp_path / "wanted.csv"
    file.write_text(text)
    with pytest.raises(ValueError, match=re.escape(sentence)):
        named_pairs(read_requests(file), dataset, {"7", "8"})


def test_a_request_for_somebody_without_a_history_is_named(dataset: Dataset, monkeypatch):
    monkeypatch.setattr(requests_module, "known_people", lambda dataset: np.array([1, 2]))
    named = [("wanted.csv, line 2", str(dataset.user_tokens[user]), "7") for user in (2, 3)]
    assert named_pairs(named[:1], dataset, {"7"}) == [(2, dataset.item_id("7"))]
    with pytest.raises(ValueError, match=rf"line 2: user '{named[1][1]}' has no interaction before the test"):
        named_pairs(named, dataset, {"7"})


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
    found = encode_stored(Shade(), shards, requests[::-1], progress=False)
    assert read == [64, 64, 22]
    assert (found[:, 0] * 255).round().tolist() == list(range(149, -1, -1))
    assert torch.equal(found, encode(Shade(), whole(requests[::-1]), progress=False))


def test_requests_are_read_by_their_columns_names_and_count_once(dataset: Dataset, tmp_path):
    file = tmp_path / "wanted.csv"
    file.write_text("note, item_id ,user_id\nx,7,3\ny, 8,3\nz,7,3 \n", encoding="utf-8-sig")
    pairs = named_pairs(read_requests(file), dataset, {"7", "8"})
    assert pairs == [(dataset.user_id("3"), dataset.item_id("7")), (dataset.user_id("3"), dataset.item_id("8"))]
    with pytest.raises(FileNotFoundError, match=r"no requests at .*gone\.csv: name a CSV file with"):
        read_requests(tmp_path / "gone.csv")
    file.write_bytes(b"user_id,item_id\n\xff,7\n")
    with pytest.raises(ValueError, match=r"wanted\.csv, line 2 is not UTF-8 .*: save it as UTF-8"):
        read_requests(file)


def test_an_interrupted_augmentation_goes_on_without_duplicate_or_hole(tmp_path):
    """Ten pictures in batches of four; stopped in the second batch, four are kept and six are left."""
    requests = asked(10)
    painter = Painter(stop_at=2)
    with pytest.raises(KeyboardInterrupt):
        augment(painter, requests, ImageShards(tmp_path, {"seed": 0}), batch_size=4, progress=False)
    shards = ImageShards(tmp_path, {"seed": 0})
    assert (len(shards), len(shards.missing(requests))) == (4, 6)
    painter = Painter()
    augment(painter, requests, shards, batch_size=4, progress=False)
    assert painter.asked == 6
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
    painter, shards = Painter(), ImageShards(folder, {})
    augment(painter, asked(10), shards, batch_size=2, progress=False)
    assert painter.batches == [2, 3][number]
    assert (shards.read(asked(10))[:, 0, 0, 0] * 255).round().tolist() == list(range(10))
    distributed.leave()


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
    plan, drawn = begin(requests, shards, 2), []
    monkeypatch.setattr(distributed, "count", lambda: of)
    for number in reversed(range(of)):
        monkeypatch.setattr(distributed, "rank", lambda number=number: number)
        drawn.append(len(share(plan)))
        draw(Painter(), share(plan), ImageShards(tmp_path / "many", {}), progress=False)
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
    painter = Painter()
    augment(painter, requests, ImageShards(tmp_path / "full", {}), batch_size=4, progress=False)
    assert painter.asked == 12
    assert files(tmp_path / "whole") == files(tmp_path / "full")
