"""Generators of one's own: what they are given, and what they must give."""

import pytest
import torch
from torch import nn

from generation.request import Request
from generation.systems.own import OwnGenerator

REQUESTS = [Request("a", "1", ("2",), 0), Request("b", "1", ("2",), 0)]


class Growing:
    """A pixel larger at each call."""

    side = 7

    def generate(self, requests):
        self.side += 1
        return torch.zeros(len(requests), 3, self.side, self.side)


def test_all_pictures_have_one_size() -> None:
    generator = OwnGenerator("mine:Growing", Growing())
    assert generator.generate(REQUESTS).shape == (2, 3, 8, 8)
    with pytest.raises(ValueError, match="mine:Growing gave pictures of 8 x 8 first and of 9 x 9 now"):
        generator.generate(REQUESTS)


class Noisy(nn.Module):
    """White, or what dropout leaves of it."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def generate(self, requests):
        return self.dropout(torch.full((len(requests), 3, 4, 4), 0.4))


def test_a_network_is_switched_to_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    from generation.systems import own

    monkeypatch.setattr(own, "import_named", lambda *_: Noisy)
    pictures = own.load_generator("mine:Noisy", {}).generate(REQUESTS)
    assert pictures.unique().tolist() == [pytest.approx(0.4)]


def test_what_cannot_be_made_for_it_is_not_its_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    from generation.systems import own

    def missing() -> None:
        raise FileNotFoundError("no weights")

    monkeypatch.setattr(own, "import_named", lambda *_: lambda gallery: gallery)
    with pytest.raises(FileNotFoundError, match=r"^no weights$"):
        own.load_generator("mine:Noisy", {"gallery": missing})
