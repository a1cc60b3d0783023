"""Diagnosis of a ranker before any generator: whether it reads pictures, and what the best of them could gain."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

from generation.request import Request
from ragar_rec.config.sections import RankerDiagnosisConfig
from ragar_rec.evaluation.controls import RandomItem, ShuffledUserSampler
from ragar_rec.evaluation.finding import COLUMNS, OWN, STRANGER
from ragar_rec.evaluation.headroom import headroom, personal_share
from ragar_rec.evaluation.people import training_requests
from ragar_rec.evaluation.protocols import Candidates, FeatureSource, measure, tasks
from ragar_rec.evaluation.substitutes import BestOfPool, RetrievedFeatures, pool_scores
from ragar_rec.stages.ranker import Ranker
from ragar_rec.stages.stage import Stage
from recsys.features import FeatureTable
from recsys.recbole.models import full_scores
from recsys.recbole.training import TrainedRanker
from recsys.scoring.metrics import per_user
from recsys.scoring.ranks import held_out_ranks, write_parquet

SMALL_POOL = 50
"""Pictures of the pool that every candidate is tried with: C times as many scores are needed there."""


@dataclass(frozen=True, eq=False)
class Diagnosis(Stage):
    """What one ranker makes of pictures, a value for each user, on training and validation interactions alone.

    Attributes:
        ranker: who is diagnosed.
        shuffled: the same ranker, trained on pictures of other items.
        baselines: simple rankers beside it.
        settings: how many pictures, permutations and people.
        candidates: C, items of a list that carry other pictures.
        k: length of the list for Recall@k and NDCG@k.
        retrieved: items that are retrieved from a history.
        history_length: the latest items of a history that are searched.
    """

    name: ClassVar[str] = "diagnosis"
    ranker: Ranker
    shuffled: Ranker
    baselines: tuple[Ranker, ...]
    settings: RankerDiagnosisConfig
    candidates: int
    k: int
    retrieved: int
    history_length: int

    def check(self) -> None:
        """Say that the ranker cannot be diagnosed before another one is trained.

        Raises:
            ValueError: it reads no pictures when it scores, nothing is held out for validation, or there are fewer
                pictures than the pool asks for, or fewer than two people whom it can be diagnosed with.
        """
        if self.retrieved < 1:
            raise ValueError("generator.k is 0, and a diagnosis asks what retrieval would gain: write --generator.k=1")
        _ = self.ranker.view
        dataset, present = self.ranker.dataset, self.ranker.original_features.present
        if not len(dataset.interactions.valid[0]):
            raise ValueError("the split has no interaction for validation, on which a ranker is diagnosed")
        if self.settings.pictures > (n := int(present.sum())):
            raise ValueError(
                f"diagnosis.pictures asks for {self.settings.pictures}, but only {n} items have one: lower it to {n}"
            )
        if len(self._requests) < 2:
            raise ValueError(
                f"{len(self._requests)} of {len(self._people())} people have a pictured training item with something "
                "before it; a diagnosis needs at least 2"
            )

    def build(self, to: Path) -> None:
        rows = [*self._reading(), *self._references(to), *self._equal_treatment()]
        write_parquet(pd.DataFrame(rows, columns=pd.Index(COLUMNS)), to / "diagnosis.parquet")

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One value for each step, subject, metric and user."""
        return pd.read_parquet(self.folder / "diagnosis.parquet")

    @cached_property
    def personal_share(self) -> float:
        """Share of the ranker's reaction to pictures that differs between people."""
        return float(json.loads((self.folder / "share.json").read_text())["personal share"])

    def _reading(self) -> Iterator[tuple[Any, ...]]:
        """Validation metrics of the ranker as it is, with permuted features, and of the others beside it."""
        rankers = {self.shuffled: "trained on shuffled"}
        rankers |= {ranker: str(ranker.settings["model"]) for ranker in self.baselines}
        yield from self._metrics(OWN, [self.ranker.trained])
        for ranker, subject in rankers.items():
            yield from self._metrics(subject, [ranker.trained])
        modalities = [name for name in ("image", "text") if name in self.ranker.features.modalities]
        kinds = {f"{name} permuted": [name] for name in modalities}
        if len(modalities) > 1:
            kinds["both permuted"] = modalities
        for subject, permuted in kinds.items():
            yield from self._metrics(subject, self._with_permuted(permuted))

    def _metrics(
        self, subject: str, rankers: Sequence[TrainedRanker] | Iterator[TrainedRanker]
    ) -> Iterator[tuple[Any, ...]]:
        """Every user's metrics on validation, the mean over these rankers."""
        frames = []
        for trained in rankers:
            ranks = held_out_ranks(
                lambda users, ranker=trained.ranker: full_scores(ranker, users), trained.dataset, phase="valid"
            )
            frames.append(per_user(ranks, self.k))
        means = pd.concat(frames).groupby(["metric", "user"], sort=False)["value"].mean()
        for (metric, user), value in means.items():  # pyright: ignore[reportGeneralTypeIssues]
            yield "reading", subject, metric, str(user), float(value)

    def _with_permuted(self, modalities: Sequence[str]) -> Iterator[TrainedRanker]:
        """The ranker reading permuted tables, once for each draw."""
        tables = {name: FeatureTable.read(self.ranker.features.file(name)) for name in modalities}
        label = f"{' and '.join(modalities)} permuted"
        draws = tqdm(range(self.settings.draws), desc=label, unit="draw", disable=not self.workspace.progress)
        with TemporaryDirectory() as folder:
            for draw in draws:
                files = {name: Path(folder) / f"{name}.safetensors" for name in modalities}
                for name, table in tables.items():
                    table.permuted(self.settings.seed + draw).write(files[name])
                yield self.ranker.trained.with_features(files)

    def _people(self) -> list[int]:
        """A sample of the users with interactions for validation, internal ids in ascending order."""
        users, n = np.unique(self.ranker.dataset.interactions.valid[0]), self.settings.users
        if n and n < len(users):
            users = np.random.default_rng(self.settings.seed).choice(users, n, replace=False)
        return np.sort(users).tolist()

    @cached_property
    def _requests(self) -> list[Request]:
        """Each of these users' last pictured training item; users without one have none."""
        dataset, present = self.ranker.dataset, self.ranker.original_features.present
        pictured = frozenset(str(dataset.item_tokens[item]) for item in present.nonzero()[:, 0].tolist())
        return training_requests(dataset, self._people(), pictured, self.settings.seed)

    def _pool(self) -> Tensor:
        """Features of random pictures of the catalogue."""
        originals = self.ranker.original_features
        pictured = originals.present.nonzero()[:, 0].numpy()
        chosen = np.random.default_rng(self.settings.seed).choice(pictured, self.settings.pictures, replace=False)
        return originals.table[torch.from_numpy(np.sort(chosen))]

    def _retrieval(self, owner: ShuffledUserSampler | None = None) -> RetrievedFeatures:
        ranker, originals = self.ranker, self.ranker.original_features
        embeddings = originals.table
        if "text" in ranker.features.modalities:
            tokens = [str(token) for token in ranker.dataset.item_tokens]
            embeddings = torch.from_numpy(FeatureTable.read(ranker.features.file("text")).align(tokens)[0])
        return RetrievedFeatures(
            ranker.dataset.history, embeddings, originals, k=self.retrieved, length=self.history_length, owner=owner
        )

    def _references(self, to: Path) -> Iterator[tuple[Any, ...]]:
        """Headroom, and what retrieval asks for, on each user's last pictured training item."""
        view, dataset, people = self.ranker.view, self.ranker.dataset, self._people()
        requests = self._requests
        users = torch.tensor([dataset.user_id(request.user) for request in requests])
        items = torch.tensor([dataset.item_id(request.reference) for request in requests])
        stranger_of = ShuffledUserSampler(dataset, self.settings.seed, people)
        strangers = torch.tensor(
            [stranger_of(int(user), np.array([int(item)])) for user, item in zip(users, items, strict=True)]
        )
        pool = self._pool()
        own, other = (
            pool_scores(view, who, items, pool) - _reference_scores(self.ranker, who, items)[:, None]
            for who in (users, strangers)
        )
        (to / "share.json").write_text(json.dumps({"personal share": personal_share(own)}))
        names = [request.user for request in requests]
        yield from _rows("headroom", headroom(own, other), names)
        yield from self._retrieved(names, users, items, stranger_of)

    def _retrieved(
        self, names: Sequence[str], users: Tensor, items: Tensor, stranger_of: ShuffledUserSampler
    ) -> Iterator[tuple[Any, ...]]:
        """Gains by the mean features of what is retrieved from the user's history, and from the stranger's."""
        view, reference = self.ranker.view, _reference_scores(self.ranker, users, items)
        sources = {OWN: self._retrieval(), STRANGER: self._retrieval(stranger_of)}
        found = {
            subject: [
                source.features(int(user), np.array([int(item)])) for user, item in zip(users, items, strict=True)
            ]
            for subject, source in sources.items()
        }
        # Users for whom, or for whose stranger, nothing with a picture is retrieved are left out of both.
        some = torch.tensor([all(bool(rows[at][1][0]) for rows in found.values()) for at in range(len(users))])
        gains: dict[str, Tensor] = {}
        for subject, rows in found.items():
            features = torch.cat([row[0] for row in rows])[some]
            with torch.no_grad():
                scores = view.substitute(users[some], items[some], features) / view.spread(users[some])
            gains[subject] = scores - reference[some]
        yield from _rows("retrieval", gains, [name for name, kept in zip(names, some.tolist(), strict=True) if kept])

    def _equal_treatment(self) -> Iterator[tuple[Any, ...]]:
        """Metrics on validation if each of the top C carried another picture."""
        view, dataset, originals = self.ranker.view, self.ranker.dataset, self.ranker.original_features
        sources: dict[str, FeatureSource | None] = {
            "original": None,
            "best of pool": BestOfPool(view, originals, self._pool()[:SMALL_POOL]),
            "retrieved": self._retrieval(),
            "random item": RandomItem(originals, self.settings.seed),
        }
        protocol, people = Candidates(self.candidates), tasks(dataset, view, self._people(), phase="valid")
        for subject, source in sources.items():
            bar = tqdm(people, desc=f"equal treatment: {subject}", unit="user", disable=not self.workspace.progress)
            for task in bar:
                for metric, value in measure(protocol, task, view, [source], self.k)[0].items():
                    yield "equal treatment", subject, metric, str(dataset.user_tokens[task.user]), float(value)


def _reference_scores(ranker: Ranker, users: Tensor, items: Tensor) -> Tensor:
    """Scores of the items under their own features, in standard deviations of each user's scores."""
    with torch.no_grad():
        own = ranker.view.substitute(users, items, ranker.original_features.table[items])
        return own / ranker.view.spread(users)


def _rows(step: str, values: Mapping[str, Tensor], users: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    for subject, column in values.items():
        for user, value in zip(users, column.tolist(), strict=True):
            yield step, subject, "score", user, value
