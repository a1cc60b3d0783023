"""The rankers of a planted world: VBPR on two image encoders, trained on the log that the people left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor

from ragar_rec.evaluation.protocols import Task, tasks
from ragar_rec.evaluation.worlds.clicks import draw_clicks
from ragar_rec.evaluation.worlds.scenarios import CATEGORIES
from ragar_rec.evaluation.worlds.shop import Shop
from recsys.features import FeatureTable
from recsys.recbole.dataset import Dataset
from recsys.recbole.isolation import one_thread
from recsys.scoring.counterfactual import Counterfactual
from recsys.scoring.metrics import ndcg_at

STEPS, BATCH, LEARNING_RATE = 60, 1024, 0.06
"""Of a training: some ten passes over the clicks, after which validation does not improve."""

VBPR: Mapping[str, Any] = {"model": "VBPR", "embedding_size": 8, "reg_weight": 0.01}


class Encoder:
    """A view of pictures: a rotation, and a small part that is not linear.

    Args:
        picture: coordinates of a picture, the last of which is the badge.
        sees_badge: whether the badge has a part in the features.
        rng: draws the view.
    """

    NONLINEAR = 0.2
    """Weight of the part that is not linear: two encoders agree on what a picture shows, not on every detail."""

    def __init__(self, picture: int, *, sees_badge: bool, rng: np.random.Generator) -> None:
        self.linear = np.eye(picture)
        self.linear[:-1, :-1] = np.linalg.qr(rng.normal(size=(picture - 1, picture - 1)))[0]
        self.phases = rng.normal(size=(picture, picture)) / np.sqrt(picture)
        self.linear[-1] *= sees_badge
        self.phases[-1] *= sees_badge

    def __call__(self, pictures: Float[np.ndarray, "*n picture"]) -> Float32[np.ndarray, "*n picture"]:
        """Features of pictures."""
        return (pictures @ self.linear + self.NONLINEAR * np.sin(pictures @ self.phases)).astype(np.float32)


@dataclass(frozen=True)
class Log:
    """What people clicked under the photos.

    Training clicks are on the items that were there from the beginning; then new items arrive, and the clicks of
    validation and test are on these. Old items' own factors know more of an item than its picture says, so that
    pictures are worth most where there are no clicks, as in a shop with a new season.

    Attributes:
        shop: the people and the items.
        dataset: the split, by RecBole.
        folder: of its files; feature tables are written beside them.
        users: the person of each internal user id from 1 on.
        items: the item of each internal item id from 1 on.
    """

    shop: Shop
    dataset: Dataset
    folder: Path
    users: Int[np.ndarray, " people"]
    items: Int[np.ndarray, " items"]

    @classmethod
    def draw(cls, shop: Shop, folder: Path, clicks: tuple[int, int, int], rng: np.random.Generator) -> Log:
        """Let everybody click, so many items in training, validation and test, and write RecBole's files."""
        utility, (train, valid, test) = shop.utility(), clicks
        old = draw_clicks(np.where(shop.new, -np.inf, utility), train, rng)
        new = draw_clicks(np.where(shop.new, utility, -np.inf), valid + test, rng)
        pairs = {"user_id:token": np.arange(len(utility)).repeat(sum(clicks))}
        pairs["item_id:token"] = np.hstack([old, new]).ravel()
        frame = pd.DataFrame({**pairs, "timestamp:float": np.tile(np.arange(sum(clicks)), len(utility))})
        home = folder / "shop"
        home.mkdir(parents=True)
        frame.to_csv(home / "shop.inter", sep="\t", index=False)
        pd.DataFrame({"item_id:token": np.arange(len(shop.looks))}).to_csv(home / "shop.item", sep="\t", index=False)
        _write(home / "text.safetensors", np.eye(CATEGORIES, dtype=np.float32)[shop.categories])
        dataset = Dataset.load(
            {
                **VBPR,
                "dataset": "shop",
                "data_path": str(folder),
                "use_gpu": False,
                "TIME_FIELD": "timestamp",
                "load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id"]},
                "eval_args": {
                    "order": "TO",
                    "group_by": "user",
                    "split": {"RS": [part / sum(clicks) for part in clicks]},
                },
                "features": {"text": str(home / "text.safetensors")},
            }
        )
        users, items = (tokens[1:].astype(int) for tokens in (dataset.user_tokens, dataset.item_tokens))
        return cls(shop, dataset, home, users, items)

    def utility(self, pictures: Float[np.ndarray, "people items picture"] | None = None) -> np.ndarray:
        """Utility of what people may click in the test, under the pictures shown: new items not yet clicked."""
        utility = np.where(self.shop.new, self.shop.utility(pictures), -np.inf)
        users, items = self.dataset.interactions.valid
        utility[self.users[users - 1], self.items[items - 1]] = -np.inf
        return utility

    @property
    def _old(self) -> Bool[Tensor, " items"]:
        """Which internal item ids, padding included, are no new items."""
        return torch.from_numpy(np.append(True, ~self.shop.new[self.items]))

    def tasks(self, view: Counterfactual) -> list[Task]:
        """Everybody's task in the test among the new items, by internal ids in ascending order."""
        old = self._old
        found = tasks(self.dataset, view, list(range(1, self.dataset.n_users)))
        return [replace(task, scores=task.scores.masked_fill(old, -torch.inf)) for task in found]

    def validation_ndcg(self, view: Counterfactual, k: int) -> Float[np.ndarray, " people"]:
        """NDCG@k of everybody's validation clicks among the new items, in the order of :meth:`tasks`."""
        scores = view.scores(torch.arange(1, self.dataset.n_users)).masked_fill(self._old, -torch.inf)
        # Everybody has as many clicks, sorted by user.
        clicked = torch.from_numpy(self.dataset.interactions.valid[1]).view(len(scores), -1)
        # Equal scores rank before the item, as in `Task.ranks`; it is one of them itself.
        ranks = (scores[:, None] >= scores.gather(1, clicked)[..., None]).sum(-1).numpy()
        return np.array([ndcg_at(row, k) for row in ranks])

    @one_thread()
    def trained(self, name: str, features: Float32[np.ndarray, "items width"], seed: int) -> Counterfactual:
        """VBPR trained on the log with these image features and the categories as text.

        The loss is VBPR's own, minimised by Adam in :data:`STEPS` batches without RecBole's data loader, whose epoch
        costs as much as ten of these steps; nothing stops early. Negatives are items that were there in training.

        Args:
            name: of the feature table.
            features: of every item of the shop.
            seed: of the initial weights and of the batches.
        """
        file = self.folder / f"{name}.safetensors"
        _write(file, features)
        dataset = self.dataset.with_features({"image": file})
        dataset.config["seed"] = seed
        ranker, generator = dataset.new_ranker(), torch.Generator().manual_seed(seed)
        optimizer = torch.optim.Adam(ranker.parameters(), lr=LEARNING_RATE, fused=True)
        users, items = map(torch.from_numpy, dataset.interactions.train)
        old = torch.from_numpy(np.flatnonzero(~self.shop.new[self.items]) + 1)
        ranker.train()
        for _ in range(STEPS):
            rows = torch.randint(len(users), (BATCH,), generator=generator)
            negatives = old[torch.randint(len(old), (BATCH,), generator=generator)]
            batch: dict[str, Tensor] = {ranker.USER_ID: users[rows], ranker.ITEM_ID: items[rows]}
            loss = torch.stack(ranker.calculate_loss({**batch, ranker.NEG_ITEM_ID: negatives})).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return Counterfactual(ranker.eval())


def _write(file: Path, values: Float32[np.ndarray, "items width"]) -> None:
    FeatureTable(tuple(map(str, range(len(values)))), values).write(file)
