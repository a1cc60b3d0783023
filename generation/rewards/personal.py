"""The personal part of a reward: what a picture is worth to its user beyond what it is worth to others."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from generation.encoders.encoder import ImageEncoder
from generation.request import Request
from generation.reward import Reward, directed, score_users
from generation.rewards.choice import PersonalForm

TEMPERATURE = 1.0
"""tau of the smooth rank, in units of the reward: of a ranker's, one standard deviation of the user's scores. On the
embedded default two people's scores of one picture differ by .95 +- .94 of these, so few sigmoids are flat."""


class Personal:
    """A user's score of a picture compared with K other users' scores of the same picture and item.

    ``difference``: f(u, v) - 1/K sum_o f(o, v). In expectation over strangers it is the score less the population's
    mean for any K; a small K adds noise, with 1/K of the variance between people.

    ``rank``: 1/K sum_o sigmoid((f(u, v) - f(o, v)) / tau), the user's place among the K + 1 people, from 0 (last) to 1
    (first). The share of strangers whose score is below the user's would be a step function: it has no gradient, and
    a picture that moves scores by tenths rarely changes it. The sigmoid approaches it for tau to 0. Strangers whose
    scores are close to the user's count most, and one of an extreme score counts no more than any other.

    In both, what pleases everybody alike earns nothing, and neither does what a picture loses for everybody alike. Each
    request has the same K strangers throughout, whatever the batch, so that the scores of all its pictures can be
    compared, those of its rivals included. Differentiable where the reward is; a
    :class:`generation.reward.SharedReward` encodes each picture once, any other K + 1 times.

    Args:
        reward: whose scores of different users are in one unit, as a ranker's in standard deviations of the user's.
        histories: the users among whom strangers are drawn, with the histories that they would request with.
        others: K.
        seed: of the draw.
        form: ``difference`` or ``rank``.

    Raises:
        ValueError: there are no K others, or K is not positive.
    """

    def __init__(
        self,
        reward: Reward,
        histories: Mapping[str, tuple[str, ...]],
        others: int,
        seed: int,
        form: PersonalForm = "difference",
    ) -> None:
        check_others(others, len(histories))
        self.reward, self.histories, self.others, self.seed, self.form = reward, histories, others, seed, form
        self.users = sorted(histories)

    def __call__(self, requests: Sequence[Request], images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, " n"]:
        """One score a picture: in the reward's own unit, or a rank in [0, 1]."""
        scores = score_users(self.reward, [[request, *self.strangers(request)] for request in requests], images)
        differences = scores[:, :1] - scores[:, 1:]
        return (differences if self.form == "difference" else torch.sigmoid(differences / TEMPERATURE)).mean(1)

    @property
    def encoder(self) -> ImageEncoder:
        """Of the reward, where it knows a direction."""
        return directed(self.reward).encoder

    def direction(self, requests: Sequence[Request], features: Float[Tensor, "n dim"]) -> Float[Tensor, "n dim"]:
        """The user's taste vector less the mean of the strangers', at length 1; zeros where they agree.

        The same for both forms: taste vectors have no length, which the slopes of the sigmoids would weigh.

        Raises:
            ValueError: the reward knows no direction, or its score has no gradient.
        """
        # One call for all: a gradient costs about as much for one request as for a hundred.
        everybody = [[request, *self.strangers(request)] for request in requests]
        repeated = features.repeat_interleave(self.others + 1, dim=0)
        directions = directed(self.reward).direction([one for group in everybody for one in group], repeated)
        directions = directions.unflatten(0, (len(requests), -1))
        return F.normalize(directions[:, 0] - directions[:, 1:].mean(1), dim=1)

    def strangers(self, request: Request) -> list[Request]:
        """The request as K other users would make it: of the same item with the same noise, after their histories."""
        text = f"{self.seed}\0{request.user}\0{request.reference}".encode()
        rng = np.random.default_rng(int.from_bytes(blake2b(text, digest_size=8).digest(), "big"))
        # One more than needed, as the user may be among them.
        drawn = [self.users[at] for at in rng.choice(len(self.users), self.others + 1, replace=False)]
        others = [user for user in drawn if user != request.user][: self.others]
        return [replace(request, user=user, history=self.histories[user]) for user in others]


def check_others(others: int, people: int) -> None:
    """Check that each of these people has so many others.

    Raises:
        ValueError: they are fewer.
    """
    if not 1 <= others < people:
        raise ValueError(
            f"reflection.personal {others} asks for the scores of {others} other people, but each of the {people} who "
            f"train the generator has {people - 1} others: take 1 to {people - 1}, or 0 for a reward that is not "
            "personal"
        )
