"""Recommendation lists with the catalogue's own pictures, and again with a picture made for each user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from generation.request import Request
from ragar_rec.augment import encode_stored_images
from ragar_rec.evaluation.people import users_with_history
from ragar_rec.evaluation.requests import RequestFactory, UserItemPair
from ragar_rec.stages.drawn import PictureStage
from ragar_rec.stages.ranker import Ranker
from recsys.recbole.models import full_scores
from recsys.scoring.lists import substituted_scorer
from recsys.scoring.ranks import Scorer, top_lists

BLOCK = 1024
"""Pictures whose features are held at a time."""


def lists_of(ranker: Ranker, users: Sequence[int] | None, k: int, score: Scorer | None = None) -> pd.DataFrame:
    """Each user's top k among all items without those of training and validation, as :func:`top_lists` returns them.

    Args:
        ranker: who ranks.
        users: internal ids; None for everybody with a history.
        k: length of a list.
        score: scores in place of the ranker's own.
    """
    dataset = ranker.dataset
    chosen = users_with_history(dataset).tolist() if users is None else users
    own: Scorer = score or (lambda batch: full_scores(ranker.trained.ranker, batch))
    # Under the split COLD too: people are recommended all items, whichever of them an evaluation ranks.
    return top_lists(own, dataset, k=k, users=chosen, candidates="all")


@dataclass(frozen=True, eq=False)
class CandidatePictures(PictureStage):
    """A picture of each of a user's original top C, made for that user, as under the protocol ``candidates``.

    Attributes:
        system: who draws.
        ranker: whose lists.
        users: tokens of the users; None for everybody with a history.
        candidates: C.
        seed: of the pictures.
        batch: pictures that are drawn at a time.
    """

    name: ClassVar[str] = "list-images"
    ranker: Ranker
    users: tuple[str, ...] | None
    candidates: int
    seed: int
    batch: int

    @property
    def seeds(self) -> tuple[int, ...]:
        return (self.seed,)

    @property
    def batch_size(self) -> int:
        return self.batch

    @property
    def user_ids(self) -> list[int] | None:
        """Internal ids of the users; None for everybody."""
        return None if self.users is None else sorted(map(self.ranker.dataset.user_id, self.users))

    @cached_property
    def pairs(self) -> list[UserItemPair]:
        """The (user, item) pairs, internal ids; an item without a picture gets none."""
        dataset, pictured = self.ranker.dataset, self.system.pictures.pictured
        top = lists_of(self.ranker, self.user_ids, self.candidates, self.ranker.view.scores)
        pairs = zip(top["user"].astype(str), top["item"].astype(str), strict=True)
        return [(dataset.user_id(user), dataset.item_id(item)) for user, item in pairs if item in pictured]

    def requests(self) -> list[Request]:
        """A request for each of :attr:`pairs`."""
        return list(map(RequestFactory(self.ranker.dataset, self.seed), self.pairs))

    def scores(self) -> torch.Tensor:
        """Counterfactual score of each of :attr:`pairs` under its generated picture."""
        reward, shards, requests, pairs = self.ranker.reward, self.shards, self.requests(), np.array(self.pairs)
        starts = range(0, len(requests), BLOCK)
        values = [torch.empty(0)]
        for start in tqdm(starts, desc="new scores", unit=f"x{BLOCK}", disable=not self.workspace.progress):
            features = encode_stored_images(reward, shards, requests[start : start + BLOCK], progress=False)
            users, items = torch.from_numpy(pairs[start : start + BLOCK]).T
            with torch.no_grad():
                values.append(self.ranker.view.substitute(users, items, features).cpu())
        return torch.cat(values)

    def lists(self, k: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Everybody's top k with the original pictures, and after the new scores of the candidates.

        The candidates are ranked again within the whole list: one that loses may leave the top k.
        """
        original = self.ranker.view.scores
        users, items = np.array(self.pairs, dtype=np.int64).reshape(-1, 2).T
        changed = substituted_scorer(original, users, items, self.scores())
        before, after = (lists_of(self.ranker, self.user_ids, k, score) for score in (original, changed))
        return before, after
