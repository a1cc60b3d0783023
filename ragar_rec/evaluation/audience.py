"""Audiences: for whom an item's picture is made where every item gets one, by training interactions alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from generation.request import Request
from ragar_rec.evaluation.people import request_seed
from recsys.recbole.dataset import Dataset
from recsys.scoring.ranks import Scorer

BLOCK = 256
"""Users scored at a time."""

DRAWS = 100
"""Other audiences, at most, among which an item finds one that never interacted with it."""


class Viewer(NamedTuple):
    """A user for whom an item's picture is made."""

    user: int
    """Internal id."""
    length: int
    """How many of the user's training interactions, the earliest, are the history."""


Audiences = Mapping[int, Sequence[Viewer]]
"""The viewers of each item, internal ids."""


def own_audiences(dataset: Dataset, items: Iterable[int], count: int, seed: int, score: Scorer) -> Audiences:
    """Up to ``count`` users for each item: those who interacted with it in training, drawn by seed.

    A user's history is what came before the item. An item that nobody has in training with something before it gets
    the users for whom the ranker scores it highest, see :func:`_by_score`, with their whole training history.

    Args:
        dataset: its training interactions are read, those of validation and test are not.
        items: internal ids.
        count: users an item.
        seed: of the draw.
        score: a ranker's scores of all items for a batch of users.
    """
    viewers: dict[int, dict[int, int]] = {item: {} for item in items}
    for user in range(1, dataset.n_users):
        for position, item in enumerate(dataset.history(user).tolist()):
            if item in viewers:
                viewers[item].setdefault(user, position)  # the first time, so that the item is not in the history
    audiences: dict[int, list[Viewer]] = {}
    for item, positions in viewers.items():
        eligible = [Viewer(user, position) for user, position in positions.items() if position]
        rng = np.random.default_rng([seed, item])
        audiences[item] = [eligible[at] for at in rng.permutation(len(eligible))[:count]]
    without = [item for item, chosen in audiences.items() if not chosen]
    return audiences | _by_score(dataset, without, count, score)


def _by_score(dataset: Dataset, items: Sequence[int], count: int, score: Scorer) -> dict[int, list[Viewer]]:
    """The users for whom a ranker scores each item highest, among those with a training history without it.

    Scores are taken from a user's mean score, in standard deviations of the user's scores: raw scores would choose the
    users of large embeddings for every item.
    """
    if not items:
        return {}
    lengths = np.array([len(dataset.history(user)) for user in range(dataset.n_users)])
    users, columns = torch.from_numpy(np.flatnonzero(lengths)), torch.tensor(items)
    best, chosen = torch.empty(0, len(items)), torch.empty(0, len(items), dtype=torch.long)
    for block in users.split(BLOCK):
        scores = _standardised(score(block))[:, columns]
        for row, user in enumerate(block.tolist()):
            scores[row, torch.isin(columns, torch.from_numpy(dataset.history(user)))] = -torch.inf
        scores, ids = torch.cat([best, scores]), torch.cat([chosen, block[:, None].expand(-1, len(items))])
        best, top = scores.topk(min(count, len(scores)), dim=0)
        chosen = ids.gather(0, top)
    return {
        item: [
            Viewer(user, int(lengths[user]))
            for user, value in zip(chosen[:, at].tolist(), best[:, at].tolist(), strict=True)
            if np.isfinite(value)
        ]
        for at, item in enumerate(items)
    }


def _standardised(scores: Tensor) -> Tensor:
    """Scores of all items as deviations from each user's mean; the padding item is no part of it."""
    scores = scores.detach().cpu().float()
    spread, mean = torch.std_mean(scores[:, 1:], dim=1, keepdim=True, correction=0)
    return (scores - mean) / spread.clamp_min(1e-12)


def exchanged_audiences(dataset: Dataset, audiences: Audiences, seed: int) -> Audiences:
    """Give each item the audience of another item, none of whom interacted with it in training.

    Histories stay as they were for the other item, so that they are as long as those of the own audiences on average.
    Of :data:`DRAWS` other items the first that will do is taken, else the one whose audience knows the item least.
    """
    known = {user: set(dataset.history(user).tolist()) for user in range(1, dataset.n_users)}
    others = [item for item, viewers in audiences.items() if viewers]
    exchanged: dict[int, Sequence[Viewer]] = {}
    for item, own in audiences.items():
        rng, overlaps = np.random.default_rng([seed, item]), {}
        own_users = {viewer.user for viewer in own}
        for at in rng.integers(len(others), size=DRAWS if own else 0):
            users = {viewer.user for viewer in audiences[others[at]]}
            if others[at] != item and not users & own_users:
                overlaps[others[at]] = sum(item in known[user] for user in users)
                if not overlaps[others[at]]:
                    break
        exchanged[item] = audiences[min(overlaps, key=overlaps.__getitem__)] if overlaps else ()
    return exchanged


def audience_requests(dataset: Dataset, audiences: Audiences, seed: int) -> list[Request]:
    """A request for each viewer of each item; the item is never in its own history."""
    requests = []
    for item, viewers in audiences.items():
        token = str(dataset.item_tokens[item])
        for user, length in viewers:
            history = tuple(str(t) for t in dataset.item_tokens[dataset.history(user)[:length]] if str(t) != token)
            if history:
                name = str(dataset.user_tokens[user])
                requests.append(Request(name, token, history, request_seed(seed, name, token)))
    return requests
