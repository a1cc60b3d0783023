from collections.abc import Sequence

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from generation.request import Request
from ragar_rec import augment as module
from ragar_rec.augment import Requests, augment, wanted_pairs
from ragar_rec.controls import Strangers
from ragar_rec.people import known_history
from ragar_rec.protocols import Candidates, Reference
from ragar_rec.shards import ImageShards
from recsys.recbole import Dataset
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


def test_an_interrupted_augmentation_goes_on_without_duplicate_or_hole(tmp_path, monkeypatch):
    """Ten pictures in batches of four; stopped in the second batch, four are kept and six are left."""
    monkeypatch.setattr(module, "BATCH", 4)
    requests = asked(10)
    painter = Painter(stop_at=2)
    with pytest.raises(KeyboardInterrupt):
        augment(painter, requests, ImageShards(tmp_path, {"seed": 0}), progress=False)
    shards = ImageShards(tmp_path, {"seed": 0})
    assert (len(shards), len(shards.missing(requests))) == (4, 6)
    painter = Painter()
    augment(painter, requests, shards, progress=False)
    assert painter.asked == 6
    shards = ImageShards(tmp_path, {"seed": 0})
    assert len(shards) == len(set(shards.ids)) == 10
    assert (shards.read(requests)[:, 0, 0, 0] * 255).round().tolist() == list(range(10))
    augment(Painter(stop_at=1), requests, shards, progress=False)  # nothing is left to ask for
