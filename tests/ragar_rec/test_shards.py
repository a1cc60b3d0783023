import pytest
import torch

from generation.request import Request, Sink
from ragar_rec.shards import ImageShards


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
    with pytest.raises(ValueError, match="use another folder"):
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
