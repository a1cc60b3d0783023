"""The personal part of a reward, by hand: what pleases everybody earns nothing."""

from collections import Counter
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from generation.ragar.reflection import reflect
from generation.ragar.reflection_config import ReflectionConfig
from generation.ragar.reflection_log import ReflectionLog
from generation.request import Request
from generation.reward import Reward, SharedReward, score_users
from generation.rewards.choice import PersonalForm
from generation.rewards.personal import Personal
from generation_world import COLOURS, SHAPES, World

LIKES = {"ann": 3.0, "bob": 1.0, "cem": -1.0, "dua": 0.0, "eve": 5.0}
"""What a user's score gains by red."""
HISTORIES = {user: (f"item of {user}",) for user in LIKES}


class Taste:
    """Brightness, which pleases everybody alike, and red, which does not."""

    def __init__(self) -> None:
        self.pictures, self.asked = 0, []

    def __call__(self, requests: Sequence[Request], images: Tensor) -> Tensor:
        self.pictures += len(images)
        self.asked = list(requests)
        likes = torch.tensor([LIKES[each.user] for each in requests])
        return 10 * images.mean((1, 2, 3)) + likes * images[:, 0].mean((1, 2))


class SharedTaste(Taste):
    """The same, from a single look at a picture."""

    def score_users(self, requests: Sequence[Sequence[Request]], images: Tensor) -> Tensor:
        self.pictures += len(images)
        likes = torch.tensor([[LIKES[each.user] for each in of_one] for of_one in requests])
        return 10 * images.mean((1, 2, 3))[:, None] + likes * images[:, 0].mean((1, 2))[:, None]


def asked(*users: str) -> list[Request]:
    return [Request(user, "a", HISTORIES[user], seed=at) for at, user in enumerate(users)]


@pytest.mark.parametrize(("taste", "encoded"), [(Taste, 10), (SharedTaste, 2)])
def test_the_mean_of_all_others_is_taken_away(taste: type[Taste], encoded: int, rng: torch.Generator) -> None:
    """Ann gains 3 by red, the four others 1.25 on average; eve gains 5, they .75. Brightness drops out."""
    reward, images = taste(), torch.rand(2, 3, 4, 4, generator=rng).requires_grad_()
    personal = Personal(reward, HISTORIES, others=4, seed=0)
    assert isinstance(personal, Reward)
    scores = personal(asked("ann", "eve"), images)
    red = images[:, 0].mean((1, 2))
    torch.testing.assert_close(scores, torch.tensor([1.75, 4.25]) * red)
    scores[0].backward()
    assert images.grad is not None
    expected = torch.tensor([1.75 / 16, 0.0, 0.0])[:, None, None].expand(3, 4, 4)
    torch.testing.assert_close(images.grad[0], expected, atol=1e-6, rtol=0)
    assert images.grad[1].abs().max() == 0
    assert reward.pictures == encoded  # each picture once, or once for each of five


def test_the_rank_among_others_is_smooth(rng: torch.Generator) -> None:
    """Ann gains 3 by red, bob, cem, dua and eve 1, -1, 0 and 5: she is ahead of three of four. Brightness drops out."""
    images = torch.rand(1, 3, 4, 4, generator=rng).requires_grad_()
    rank = Personal(SharedTaste(), HISTORIES, others=4, seed=0, form="rank")
    red = images[:, 0].mean((1, 2))
    scores = rank(asked("ann"), images)
    places = torch.sigmoid(torch.tensor([2.0, 4.0, 3.0, -2.0]) * red)
    torch.testing.assert_close(scores, places.mean(0, keepdim=True))
    scores.sum().backward()
    assert images.grad is not None
    # sigmoid' = p (1 - p), times the difference of tastes; red is a mean over 16 pixels
    slope = (places * (1 - places) * torch.tensor([2.0, 4.0, 3.0, -2.0])).mean() / 16
    torch.testing.assert_close(images.grad[0, 0], slope.detach().expand(4, 4))
    assert images.grad[0, 1:].abs().max() < 1e-6

    def loud(requests: Sequence[Request], images: Tensor) -> Tensor:
        return 1000 * Taste()(requests, images)

    shares = Personal(loud, HISTORIES, others=4, seed=0, form="rank")(
        asked("ann", "eve", "cem"), images.expand(3, -1, -1, -1)
    )
    assert shares.tolist() == pytest.approx([0.75, 1.0, 0.0])


def test_a_reward_of_several_users_is_that_of_each(rng: torch.Generator) -> None:
    images, users = torch.rand(2, 3, 4, 4, generator=rng), [asked("ann", "bob"), asked("eve", "cem")]
    assert isinstance(SharedTaste(), SharedReward)
    assert not isinstance(Taste(), SharedReward)
    torch.testing.assert_close(score_users(Taste(), users, images), score_users(SharedTaste(), users, images))
    with pytest.raises(ValueError, match=r"gave shape \(4, 1\), it must give one number a picture: \(4,\)"):
        score_users(lambda requests, images: images[:, :1, 0, 0], users, images)


def test_strangers_are_others_with_their_own_histories_and_stay_the_same() -> None:
    personal = Personal(Taste(), HISTORIES, others=2, seed=0)
    found = {each: personal.strangers(each) for user in LIKES for each in asked(user)}
    for each, strangers in found.items():
        assert len({other.user for other in strangers} - {each.user}) == 2
        for other in strangers:
            assert (other.reference, other.seed, other.history) == (each.reference, each.seed, HISTORIES[other.user])
    again = Personal(Taste(), dict(reversed(HISTORIES.items())), others=2, seed=0)
    assert all(again.strangers(each) == strangers for each, strangers in found.items())
    (ann,) = asked("ann")
    drawn = Counter(
        other.user for seed in range(600) for other in Personal(Taste(), HISTORIES, others=2, seed=seed).strangers(ann)
    )
    assert set(drawn) == {"bob", "cem", "dua", "eve"}
    assert all(abs(count - 300) < 50 for count in drawn.values())  # four standard deviations of 12.2
    outsider = Personal(Taste(), {user: HISTORIES[user] for user in ("bob", "cem")}, others=1, seed=0)
    assert len(outsider.strangers(ann)) == 1


@pytest.mark.parametrize("others", [0, 5])
def test_more_strangers_than_people_are_refused(others: int) -> None:
    with pytest.raises(
        ValueError, match=f"reflection.personal {others} asks for .* each of the 5 .* has 4 others: take"
    ):
        Personal(Taste(), HISTORIES, others, seed=0)


def test_training_learns_nothing_from_what_pleases_everybody(world: World) -> None:
    """Redness alone is a signal in every group, its personal part in none, as a difference or as a rank."""
    ids = [f"{colour}-{shape}" for colour in COLOURS for shape in SHAPES]
    requests = [Request(str(at), ids[at], (ids[at + 5],), seed=at) for at in range(5)]
    histories = {each.user: each.history for each in requests}
    config = ReflectionConfig(reward_steps=2, batch_size=3, samples=2, steps=1, rank=2, margin=100.0)

    def redness(requests: Sequence[Request], images: Tensor) -> Tensor:
        return (images[:, 0] - images[:, 1:].mean(1)).mean((1, 2))

    silent = []
    forms: list[PersonalForm] = ["difference", "rank"]
    for reward in (redness, *(Personal(redness, histories, others=4, seed=0, form=form) for form in forms)):
        reflect(world.ragar(), requests, reward, config, log := ReflectionLog(), progress=False)
        silent.append(log.silent_groups)
    assert silent == [0, 6, 6]
