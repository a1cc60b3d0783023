"""Pictures optimised for one request: at least as good as v_gen, each for its own request, the generator untouched."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from generation.ragar.optimum import optimised_pictures
from generation.request import Request
from generation_world import World, request

REQUESTS = [
    request("red-circle", "blue-square", "teal-bar", seed=1),
    request("green-bar", "pink-circle", "yellow-bar", seed=2),
]


def colour(requests: Sequence[Request], images: Tensor) -> Tensor:
    """In percent: the first request likes red, the second blue."""
    channel = torch.tensor([0 if each.reference == "red-circle" else 2 for each in requests])
    chosen = images.mean((2, 3)).gather(1, channel[:, None])[:, 0]
    return 100 * (chosen - images.mean((1, 2, 3)))


def test_each_request_gains_and_the_generator_stays_as_it_was(world: World) -> None:
    ragar = world.ragar()
    before = {name: value.detach().clone() for name, value in ragar.trained_parts().items()}
    v_gen = ragar.generate(REQUESTS)
    best = optimised_pictures(ragar, REQUESTS, colour, steps=8, progress=False)
    gains = colour(REQUESTS, best) - colour(REQUESTS, v_gen)
    assert best.shape == v_gen.shape and best.min() >= 0 and best.max() <= 1
    assert (gains > 0.5).all()
    assert all(torch.equal(value, before[name]) for name, value in ragar.trained_parts().items())
    assert all(value.grad is None for value in ragar.trained_parts().values())


def test_a_requests_picture_is_its_own_whoever_is_beside_it(world: World) -> None:
    ragar = world.ragar()
    together = optimised_pictures(ragar, REQUESTS, colour, steps=3, progress=False)
    alone = optimised_pictures(ragar, REQUESTS[1:], colour, steps=3, progress=False)
    torch.testing.assert_close(together[1:], alone, atol=1e-3, rtol=0)


def test_where_nothing_is_better_v_gen_is_kept(world: World) -> None:
    """A constant reward (with a gradient of 0) never exceeds that of the first picture."""
    ragar = world.ragar()

    def constant(requests: Sequence[Request], images: Tensor) -> Tensor:
        return 0 * images.sum((1, 2, 3))

    best = optimised_pictures(ragar, REQUESTS, constant, steps=2, progress=False)
    torch.testing.assert_close(best, ragar.generate(REQUESTS), atol=1e-5, rtol=0)


def test_no_request_is_refused(world: World) -> None:
    with pytest.raises(ValueError, match="at least one request, got 0"):
        optimised_pictures(world.ragar(), [], colour)
