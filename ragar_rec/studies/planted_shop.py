"""A planted shop on real pictures: the real pipeline on a simulated log, and the true gain of what it draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from generation.pictures import to_bytes
from generation.ragar.optimum import optimised_pictures
from generation.request import Generator, Request
from generation.reward import Reward
from ragar_rec.augment import encode_images
from ragar_rec.evaluation.controls import ShuffledUserSampler
from ragar_rec.evaluation.frames import generate_in_batches
from ragar_rec.evaluation.protocols import Candidates, tasks
from ragar_rec.evaluation.requests import RequestFactory
from ragar_rec.evaluation.verdict import Verdict
from ragar_rec.evaluation.worlds.clicks import draw_clicks, inclusion
from ragar_rec.evaluation.worlds.live_test import Arm, live_verdict, split
from ragar_rec.evaluation.worlds.picture_shop import Liking, PictureShop, without
from ragar_rec.evaluation.worlds.truth import expected_ndcg
from ragar_rec.experiment import Experiment
from ragar_rec.studies.arguments import ExperimentSource, as_overrides
from ragar_rec.studies.planted_shop_tables import PHOTOS

COVERS = Path("ml-100k")
"""The preset whose pictures become the shop's where no folder is named."""

UNREWARDED, RAGAR = "RAGAR before its reward", "RAGAR"
RANKERS_BEST, BEST = "best by the ranker's score", "best by the true utility"
SYSTEMS = (UNREWARDED, RAGAR, RANKERS_BEST, BEST)
"""Who makes the pictures, in the order of the table; the last is the oracle."""

Pictures = UInt8[Tensor, "pictures 3 height width"]


@dataclass(frozen=True)
class Size:
    """The size of a planted shop, and what is measured in it."""

    people: int = 400
    clicks: int = 100
    """Of each person in the log, of whom ml-100k has 106 a person."""
    eta: float = 1.0
    """Weight of the picture shown: that of the world `persuades`."""
    next_clicks: int = 10
    """The clicks over which the truth is expected, and a live test lasts."""
    measured: int = 20
    """People kept from the generator's training whose true gains are computed."""
    steps: int = 15
    """Of Adam towards the best pictures."""


@dataclass(frozen=True)
class Lists:
    """What the ranker that rewards would show under the photos.

    Attributes:
        users: internal ids.
        people: their numbers in the shop.
        items: internal ids of the top C.
        rows: their rows in the shop.
        scores: of the photos.
        strangers: internal id of the other person whose pictures the list shows, where it shows a stranger's.
        clicked: items of the shop that were clicked in training and validation.
    """

    users: Int[np.ndarray, " n"]
    people: Int[np.ndarray, " n"]
    items: Int[np.ndarray, "n c"]
    rows: Int[np.ndarray, "n c"]
    scores: Float[np.ndarray, "n c"]
    strangers: Int[np.ndarray, " n"]
    clicked: Bool[np.ndarray, "n items"]

    def of(self, at: Int[np.ndarray, " m"]) -> Lists:
        """Those of some people."""
        return Lists(**{name: values[at] for name, values in vars(self).items()})


class Shown(NamedTuple):
    """Lists as they are shown, and what people make of them."""

    rows: Int[np.ndarray, "n c"]
    """The items, by their rows in the shop."""
    utility: Float[np.ndarray, "n items"]
    """Of every item under what is shown, -inf for those that were clicked before."""
    scores: Float[np.ndarray, "n c"]
    """By the ranker, of the items in the order of :class:`Lists`."""


class PlantedShop:
    """One shop: its people, its log on disk, and the experiment on it.

    Args:
        source: the config; ``data`` is the folder of a catalogue of one's own, None for the embedded covers.
        size: of shop and measurement.
        seed: of people, clicks and trainings.

    Attributes:
        shop: people and items, whose truth is known.
        run: the experiment on the log.
    """

    def __init__(self, source: ExperimentSource, size: Size, seed: int) -> None:
        self.size, self.seed = size, seed
        catalogue = replace(source, output=source.output / "catalogue")
        if source.data is None:
            catalogue = replace(catalogue, config=COVERS, overrides=())
        pictures = catalogue.open().pictures
        rows = pictures.pictured_rows
        items, photos = [pictures.items[row] for row in rows], pictures.images[rows]
        self.shop = PictureShop.draw(items, photos, people=size.people, eta=size.eta, seed=seed)
        home = source.output / f"seed-{seed}"
        self.shop.write(home / "data", size.clicks, np.random.default_rng([seed, 1]))
        # The diagnosis optimises pictures, too, which is minutes of work that this study does by itself.
        keys = {"seed": 2020 + seed, "generator.seed": seed, "reflection.seed": seed, "diagnosis.optimised": 0}
        # First, so that the user's own overrides prevail.
        first = tuple(as_overrides(keys))
        last = ("--dataset=planted", "--catalog.preparer=own")
        overrides = (*first, *source.overrides, *last)
        self.run: Experiment = replace(source, data=home / "data", output=home, overrides=overrides).open()

    @cached_property
    def lists(self) -> Lists:
        """Everybody's list."""
        ranker, evaluation = self.run.reward_ranker, self.run.config.evaluation
        dataset, protocol = ranker.dataset, Candidates(evaluation.candidates)
        users = list(range(1, dataset.n_users))
        found = tasks(dataset, ranker.view, users)
        items = np.stack([protocol.items(task) for task in found])
        sampler = ShuffledUserSampler(dataset, evaluation.seeds[0], users)
        row_of = {item.id: row for row, item in enumerate(self.shop.items)}
        # The padding's row is never read as an item's.
        rows = np.array([row_of.get(str(token), 0) for token in dataset.item_tokens])
        number = {name: at for at, name in enumerate(self.shop.people)}
        clicked = np.zeros((len(users), len(self.shop.items)), dtype=bool)
        for part in (dataset.interactions.train, dataset.interactions.valid):
            clicked[part[0] - 1, rows[part[1]]] = True
        return Lists(
            users=np.array(users),
            people=np.array([number[str(token)] for token in dataset.user_tokens[users]]),
            items=items,
            rows=rows[items],
            scores=np.stack([task.scores[task_items].numpy() for task, task_items in zip(found, items, strict=True)]),
            strangers=np.array([sampler(user, listed) for user, listed in zip(users, items, strict=True)]),
            clicked=clicked,
        )

    @cached_property
    def measured(self) -> Lists:
        """Lists of people whom the generator was not trained on."""
        return self.lists.of(np.array(self.run.ragar.people.test[: self.size.measured]) - 1)

    def truth(self) -> pd.DataFrame:
        """True expectations of each measured person under each system's own and a stranger's pictures.

        Returns:
            ``seed``, ``person``, ``system``, ``owner`` (``own`` or ``stranger``), ``ndcg`` and ``clicks``, expected
            over the next clicks; ``liking``, by how much the pictures' mean utility exceeds the photos'; and ``score``,
            the same in the ranker's scores, in deviations of the person's.
        """
        frames = [self._expected(PHOTOS, "own", None)]
        for owner in ("own", "stranger"):
            requests = self._requests(self.measured, owner)
            frames += [self._expected(name, owner, self._pictures(name, requests)) for name in SYSTEMS]
        return pd.concat(frames, ignore_index=True)

    def known_taste(self, pictures: int = 300) -> Float[np.ndarray, " people"]:
        """What the ranker knows: correlation, over pictures, of each measured person's scores with the true liking."""
        lists, ranker = self.measured, self.run.reward_ranker
        rows = np.random.default_rng(self.seed).permutation(len(self.shop.items))[:pictures]
        catalogue = self.run.pictures
        images = catalogue.images[catalogue.rows([self.shop.items[row].id for row in rows])]
        features = encode_images(ranker.reward, images, progress=False)
        with torch.no_grad():
            # The item is the same for all pictures, so that they alone differ.
            items = torch.full((len(rows),), int(lists.items[0, 0]))
            scores = ranker.view.score_matrix(torch.from_numpy(lists.users), items, features).double().numpy()
        true = self.shop.tastes[lists.people] @ self.shop.seen[rows].T
        return np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(scores, true, strict=True)])

    def live_test(self) -> Verdict:
        """Split everybody into arms, show each its pictures, let people click, and ask for the verdict."""
        rng, settings = np.random.default_rng([self.seed, 2]), self.run.config.evaluation
        values: dict[Arm, np.ndarray] = {}
        for arm, at in split(len(self.lists.users), rng).items():
            lists = self.lists.of(at)
            images = None
            if arm != "photos":
                images = self._pictures(RAGAR, self._requests(lists, arm))
            shown = self._shown(lists, images)
            clicks = np.zeros(shown.utility.shape)
            np.put_along_axis(clicks, draw_clicks(shown.utility, self.size.next_clicks, rng), 1.0, axis=1)
            values[arm] = expected_ndcg(shown.rows[:, : settings.k], clicks, self.size.next_clicks)
        metric = f"NDCG@{settings.k}"
        return live_verdict(values, metric=metric, smallest_gain=settings.smallest_gain, alpha=settings.alpha)

    def _requests(self, lists: Lists, owner: str) -> list[Request]:
        """A request for each place in the lists, of the person or of the stranger."""
        request_for = RequestFactory(self.run.reward_ranker.dataset, self.run.config.evaluation.seeds[0])
        owners = lists.users if owner == "own" else lists.strangers
        return [
            request_for((int(user), int(item)))
            for user, items in zip(owners, lists.items, strict=True)
            for item in items
        ]

    def _pictures(self, system: str, requests: Sequence[Request]) -> Pictures:
        """As bytes, in which pictures are kept and shown."""
        ragar, progress = self.run.ragar, self.run.workspace.progress
        generators: Mapping[str, Generator] = {UNREWARDED: ragar.untrained, RAGAR: ragar.generator}
        if system in generators:
            images = generate_in_batches(generators[system], requests, progress=progress, description=system)
        else:
            reward: Reward = Liking(self.shop) if system == BEST else self.run.reward_ranker.reward
            steps = self.size.steps
            images = optimised_pictures(ragar.generator, requests, reward, steps=steps, progress=progress)
        return to_bytes(images)

    def _shown(self, lists: Lists, images: Pictures | None) -> Shown:
        """The lists re-ranked by the ranker's scores of their pictures; without pictures they show the photos."""
        if images is None:
            return Shown(lists.rows, without(self.shop.utility(lists.people), lists.clicked), lists.scores)
        reward = self.run.reward_ranker.reward
        features = encode_images(reward, images, progress=False).view(*lists.items.shape, -1)
        with torch.no_grad():
            users, items = torch.from_numpy(lists.users), torch.from_numpy(lists.items)
            scores = reward.view.substitute_lists(users, items, features).numpy()
        # Equal scores keep the original order, as under `candidates`.
        rows = np.take_along_axis(lists.rows, np.argsort(-scores, axis=1, kind="stable"), axis=1)
        seen = self.shop.look(images).reshape(*lists.rows.shape, -1)
        return Shown(rows, without(self.shop.utility(lists.people, lists.rows, seen), lists.clicked), scores)

    def _expected(self, system: str, owner: str, images: Pictures | None) -> pd.DataFrame:
        lists, n, k = self.measured, self.size.next_clicks, self.run.config.evaluation.k
        photos, shown = self._shown(lists, None), self._shown(lists, images)
        # The same draws under every system: the difference of two is known better than either.
        probability = inclusion(shown.utility, n, np.random.default_rng([self.seed, 3]))
        change = np.take_along_axis(shown.utility - self.shop.utility(lists.people), lists.rows, axis=1)
        spread = self.run.reward_ranker.view.spread(torch.from_numpy(lists.users))
        return pd.DataFrame(
            {
                "seed": self.seed,
                "person": [self.shop.people[number] for number in lists.people],
                "system": system,
                "owner": owner,
                "ndcg": expected_ndcg(shown.rows[:, :k], probability, n),
                "clicks": np.take_along_axis(probability, shown.rows[:, :k], axis=1).sum(1),
                "liking": change.mean(1),
                "score": (shown.scores - photos.scores).mean(1) / spread.numpy(),
            }
        )
