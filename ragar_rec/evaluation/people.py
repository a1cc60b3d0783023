"""People: who trains the generator, who is kept for judging it, and which requests their histories make."""

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
    """A seed of the request's own: the same picture whichever process makes it, in whichever batch."""
    text = f"{seed}\0{user}\0{item}".encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big") >> 1


@dataclass(frozen=True)
class People:
    """Three disjoint groups of users (internal ids) with at least two training interactions."""

    train: tuple[int, ...]
    valid: tuple[int, ...]
    test: tuple[int, ...]


def divide(dataset: Dataset, held_out: float, seed: int) -> People:
    """Split people for generator training: ``held_out`` of them for the test, half as many for validation."""
    able = [user for user in range(1, dataset.n_users) if len(dataset.history(user)) >= 2]
    if len(able) < 3:
        raise ValueError(f"{len(able)} people have two training interactions or more; the generator needs at least 3")
    order = np.random.default_rng(seed).permutation(able)
    tests = max(1, round(held_out * len(able)))
    valids = max(1, round(held_out * len(able) / 2))
    return People(
        train=tuple(sorted(order[tests + valids :].tolist())),
        valid=tuple(sorted(order[tests : tests + valids].tolist())),
        test=tuple(sorted(order[:tests].tolist())),
    )


def training_requests(dataset: Dataset, users: Sequence[int], pictured: frozenset[str], seed: int) -> list[Request]:
    """One request a person, from *training* interactions alone.

    The reference is the person's last training item that has a picture, the history is what came before it; who has no
    such item, or nothing before it, makes none.
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


def known_history(dataset: Dataset, user: int) -> tuple[str, ...]:
    """What is known of a person when the test begins: training, then validation interactions, oldest first."""
    users, items = dataset.interactions.valid
    known = np.concatenate([dataset.history(user), items[users == user]])
    return tuple(str(token) for token in dataset.item_tokens[known])


def known_people(dataset: Dataset) -> Int[np.ndarray, " people"]:
    """Those of whom something is known when the test begins, in ascending order."""
    return np.union1d(dataset.interactions.train[0], dataset.interactions.valid[0])


def sample(dataset: Dataset, count: int, seed: int) -> list[int]:
    """``count`` people who have test interactions and a known history (0: all of them), in ascending order.

    Raises:
        ValueError: there is nobody.
    """
    tested = np.unique(dataset.interactions.test[0])
    if len(tested) == 0:
        raise ValueError("nobody has an interaction in the test part of the split: give eval_args.split a test share")
    able = np.intersect1d(tested, known_people(dataset))
    if len(able) == 0:
        raise ValueError("of nobody in the test anything is known before: give eval_args.split a larger training share")
    if left := len(tested) - len(able):
        logger.info(
            "%d of %d people with test interactions are left out: nothing is known of them before", left, len(tested)
        )
    if count and count < len(able):
        able = np.sort(np.random.default_rng(seed).choice(able, count, replace=False))
    return able.tolist()
