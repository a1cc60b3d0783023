import csv
import errno
import resource
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from generation.request import Request, Sink
from ragar_rec.store import shards as module
from ragar_rec.store.shards import ImageShards


def pictures(*levels: int) -> torch.Tensor:
    """One 4 x 2 picture per level; 51 is exactly a fifth of 255."""
    return torch.tensor(levels).view(-1, 1, 1, 1).expand(-1, 3, 4, 2) / 255


def test_pictures_come_back_under_their_ids_to_the_last_bit(tmp_path):
    shards = ImageShards(tmp_path, {"seed": 0})
    shards.write(["a", "b"], pictures(0, 51))
    shards(["c"], pictures(255))
    found = shards.read(["c", "b", "a", "b"])
    assert found.shape == (4, 3, 4, 2)
    assert found[:, 0, 0, 0].tolist() == pytest.approx([1.0, 0.2, 0.0, 0.2], abs=1e-7)
    assert ImageShards(tmp_path, {"seed": 0}).ids == ["a", "b", "c"]


def test_after_a_stop_only_the_missing_are_made_and_none_twice(tmp_path):
    wanted = [str(number) for number in range(7)]

    def generate(stop_after: int) -> list[str]:
        shards = ImageShards(tmp_path, {})
        made = shards.missing(wanted)[:stop_after]
        for name in made:
            shards.write([name], pictures(int(name)))
        return made

    assert generate(3) == ["0", "1", "2"]
    (tmp_path / "00003.safetensors.tmp").write_bytes(b"half a shard")
    assert generate(9) == ["3", "4", "5", "6"]
    assert generate(9) == []
    shards = ImageShards(tmp_path, {})
    assert len(shards) == 7
    assert (shards.read(wanted)[:, 0, 0, 0] * 255).round().tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_a_second_picture_of_one_request_is_refused(tmp_path):
    shards = ImageShards(tmp_path, {})
    shards.write(["a"], pictures(1))
    for ids in (["a"], ["b", "b"]):
        with pytest.raises(ValueError, match="two pictures of request"):
            shards.write(ids, pictures(*range(len(ids))))
    with pytest.raises(ValueError, match="2 requests for 1 pictures"):
        shards.write(["x", "y"], pictures(1))
    assert shards.ids == ["a"]


def test_values_outside_are_clipped_and_none_is_no_shard(tmp_path):
    shards = ImageShards(tmp_path, {})
    shards.write([], torch.empty(0, 3, 4, 2))
    shards.write(["low", "high"], torch.stack([torch.full((3, 4, 2), -1.0), torch.full((3, 4, 2), 9.0)]))
    assert shards.read(["low", "high"])[:, 0, 0, 0].tolist() == [0, 1]
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


def test_other_provenance_does_not_mix(tmp_path):
    ImageShards(tmp_path, {"seed": 0}).write(["a"], pictures(1))
    with pytest.raises(ValueError, match="give another --output"):
        ImageShards(tmp_path, {"seed": 1})


def test_a_missing_picture_and_a_broken_shard_are_named(tmp_path):
    shards = ImageShards(tmp_path, {})
    with pytest.raises(KeyError, match="no picture of request 'a'"):
        shards.read(["a"])
    (tmp_path / "00000.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"00000\.safetensors is no shard"):
        ImageShards(tmp_path, {})


def test_it_is_a_sink_of_requests_told_apart_by_every_part(tmp_path):
    shards = ImageShards(tmp_path, {})
    base = Request("u", "i", ("a", "b"), 0)
    others = [
        Request("v", "i", ("a", "b"), 0),
        Request("u", "j", ("a", "b"), 0),
        Request("u", "i", ("b", "a"), 0),
        Request("u", "i", ("a", "b"), 1),
    ]
    sink: Sink = shards
    sink([base], (pictures(7) * 255).round().to(torch.uint8))
    assert base in shards
    assert shards.missing([base, *others]) == others
    assert (shards.read([base])[0, 0, 0, 0] * 255).round() == 7


def test_a_plan_is_the_same_before_and_after_a_stop(tmp_path):
    """Seven requests in threes; the first and the last shard are written, by a process that knew the plan."""
    wanted = [str(number) for number in range(7)]
    plan = ImageShards(tmp_path, {}).plan([*wanted, "3", "0"], 3)
    assert [(shard.name[:5], batch) for shard, batch in plan] == [
        ("00000", ["0", "1", "2"]),
        ("00001", ["3", "4", "5"]),
        ("00002", ["6"]),
    ]
    other = ImageShards(tmp_path, {})
    for shard, batch in (plan[2], plan[0]):
        other.write(batch, pictures(*map(int, batch)), shard)
    assert ImageShards(tmp_path, {}).plan(wanted, 3) == [plan[1]]
    assert other.plan(wanted, 3) == [plan[1]]
    other.write(["more"], pictures(9))  # the first free name
    assert other.plan(wanted, 3) == [(tmp_path / "00003.safetensors", ["3", "4", "5"])]


def test_what_a_kill_left_half_written_is_swept_away(tmp_path):
    shards = ImageShards(tmp_path, {})
    shards.write(["a"], pictures(1))
    (tmp_path / "00001.safetensors.0f.tmp").write_bytes(b"half a shard")
    shards.sweep()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000.safetensors", "provenance.json"]


def test_the_manifest_says_where_each_picture_stands(tmp_path):
    shards = ImageShards(tmp_path, {})
    mine, hers, third = (Request(user, "i,1", ("a",), seed=2**62) for user in ("u", "ü", "w"))
    shards.write([third], pictures(9))
    shards.write([hers, mine], pictures(1, 2))
    with shards.write_manifest([mine, hers]).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["shard"], row["row"], row["user"]) for row in rows] == [
        ("00001.safetensors", "0", "ü"),
        ("00001.safetensors", "1", "u"),
    ]
    assert {(row["item"], row["seed"]) for row in rows} == {("i,1", str(2**62))}
    with pytest.raises(KeyError, match="no picture of request"):
        shards.write_manifest([mine, Request("x", "i", (), 0)])


def test_a_shard_beyond_the_limit_for_files_is_a_sentence_and_leaves_nothing(tmp_path):
    """The system's own limit, of 4096 bytes a file: 64 pictures have 1536, 640 have 15,360."""
    shards = ImageShards(tmp_path, {})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        shards.write([f"a{n}" for n in range(64)], torch.zeros(64, 3, 4, 2))
        with pytest.raises(OSError, match="make room and run the same command to continue") as caught:
            shards.write([f"b{n}" for n in range(640)], torch.zeros(640, 3, 4, 2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.EFBIG
    assert caught.value.filename == str(tmp_path / "00001.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000.safetensors", "provenance.json"]
    assert len(shards) == 64
    shards.write([f"b{n}" for n in range(640)], torch.zeros(640, 3, 4, 2))
    assert len(ImageShards(tmp_path, {})) == 704


def test_a_full_disk_is_a_sentence_and_leaves_nothing(tmp_path, monkeypatch):
    """/dev/full, the device on which there is never room, in the place of the file that is being written."""
    shards = ImageShards(tmp_path, {})
    monkeypatch.setattr(module, "uuid4", lambda: SimpleNamespace(hex="0f"))
    (tmp_path / "00000.safetensors.0f.tmp").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device .* make room") as caught:
        shards.write(["a"], pictures(1))
    assert caught.value.errno == errno.ENOSPC
    assert [path.name for path in tmp_path.iterdir()] == ["provenance.json"]
    assert Path("/dev/full").exists()
    shards.write(["a"], pictures(1))
    assert ImageShards(tmp_path, {}).ids == ["a"]
