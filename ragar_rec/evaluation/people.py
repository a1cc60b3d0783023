"""Users: who trains the generator and who judges it, the sample of the test, and requests from users' histories."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from jaxtyping import Int

from generation.request import Request
from recsys.recbole.dataset import Dataset

logger = logging.getLogger(__name__)


def request_seed(seed: int, user: str, item: str) -> int:
    """The seed of a single request: its picture is the same whichever process generates it, in whichever batch."""
    text = f"{seed}\0{user}\0{item}".encode()
    # The shift leaves 63 bits, which fit a signed 64-bit integer.
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big") >> 1


@dataclass(frozen=True)
class People:
    """Three disjoint groups of users (internal ids) with at least two training interactions."""

    train: tuple[int, ...]
    valid: tuple[int, ...]
    test: tuple[int, ...]


def divide(dataset: Dataset, held_out: float, seed: int) -> People:
    """Split the users for generator training: a share ``held_out`` for the test, half as many for validation.

    Raises:
        ValueError: fewer than three users have two training interactions or more.
    """
    # Two interactions make a request: the last is the reference, the one before it the history.
    eligible = [user for user in range(1, dataset.n_users) if len(dataset.history(user)) >= 2]
    if len(eligible) < 3:
        raise ValueError(
            f"{len(eligible)} people have two training interactions or more; the generator needs at least 3"
        )
    order = np.random.default_rng(seed).permutation(eligible)
    n_test = max(1, round(held_out * len(eligible)))
    n_valid = max(1, round(held_out * len(eligible) / 2))
    return People(
        train=tuple(sorted(order[n_test + n_valid :].tolist())),
        valid=tuple(sorted(order[n_test : n_test + n_valid].tolist())),
        test=tuple(sorted(order[:n_test].tolist())),
    )


def training_requests(dataset: Dataset, users: Sequence[int], pictured: frozenset[str], seed: int) -> list[Request]:
    """One request per user, from *training* interactions alone.

    The reference is the user's last training item that has a picture, the history is what came before it. A user
    without such an item, or with nothing before it, has no request.
    """
    requests = []
    for user in users:
        history = [str(token) for token in dataset.item_tokens[dataset.history(user)]]
        last = next((at for at in range(len(history) - 1, 0, -1) if history[at] in pictured), None)
        if last is None:
            continue
        token = str(dataset.user_tokens[user])
        requests.append(Request(token, history[last], tuple(history[:last]), request_seed(seed, token, history[last])))
    return requests


def generator_requests(dataset: Dataset, people: People, pictured: frozenset[str], seed: int) -> list[Request]:
    """The :func:`training_requests` of ``people.train``, if they are enough, and those of ``people.test`` too.

    Raises:
        ValueError: they are fewer than two, or no user of ``people.test`` makes one.
    """
    training = training_requests(dataset, people.train, pictured, seed)
    judging = training_requests(dataset, people.test, pictured, seed)
    for requests, users, task, needed in (
        (training, people.train, "train the generator", 2),
        (judging, people.test, "judge it", 1),
    ):
        if len(requests) < needed:
            raise ValueError(
                f"{len(requests)} of the {len(users)} people who {task} have a pictured training item with "
                f"something before it; the generator needs at least {needed}: give more items a picture"
            )
    return training


def known_history(dataset: Dataset, user: int) -> tuple[str, ...]:
    """Item ids that are known of a user when the test begins: training, then validation interactions, oldest first."""
    users, items = dataset.interactions.valid
    history = np.concatenate([dataset.history(user), items[users == user]])
    return tuple(str(token) for token in dataset.item_tokens[history])


def users_with_history(dataset: Dataset) -> Int[np.ndarray, " users"]:
    """Users with an interaction in training or validation, internal ids in ascending order."""
    return np.union1d(dataset.interactions.train[0], dataset.interactions.valid[0])


def sample(dataset: Dataset, count: int, seed: int) -> list[int]:
    """Draw ``count`` users who have test interactions and a known history (0: all of them), in ascending order.

    Raises:
        ValueError: there is no such user.
    """
    tested = np.unique(dataset.interactions.test[0])
    if len(tested) == 0:
        raise ValueError("nobody has an interaction in the test part of the split: give eval_args.split a test share")
    eligible = np.intersect1d(tested, users_with_history(dataset))
    if len(eligible) == 0:
        raise ValueError("no user of the test has an earlier interaction: give eval_args.split a larger training share")
    if left_out := len(tested) - len(eligible):
        logger.info(
            "%d of %d people with test interactions are left out: they have no earlier interaction",
            left_out,
            len(tested),
        )
    if count and count < len(eligible):
        eligible = np.sort(np.random.default_rng(seed).choice(eligible, count, replace=False))
    return eligible.tolist()
