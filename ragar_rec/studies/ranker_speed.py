"""Speed of the ranker: an epoch, counterfactual scores and a full ranking, beside their straightforward forms."""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np
import torch

from ragar_rec.studies.dense_micro import DENSE_MICRO
from ragar_rec.studies.timing import seconds
from recsys.recbole.dataset import Dataset
from recsys.recbole.isolation import one_thread
from recsys.recbole.keys import with_ranker
from recsys.recbole.models import full_scores
from recsys.recbole.trainer import Trainer
from recsys.scoring.counterfactual import Counterfactual
from recsys.scoring.ranks import top_lists

DENSE_BATCH = 1024
"""Batch size of the dense form, that of MICRO's reference code."""


def epoch_seconds(config: dict[str, Any], *, batches: int = 5) -> dict[str, float]:
    """Seconds of one epoch.

    Args:
        config: RecBole's keys with the recommended batch size.
        batches: of the dense form that are timed, after its first one.

    Returns:
        ``dense`` (the dense form, extrapolated), ``same_batch`` (MICRO at the dense form's batch size) and
        ``recommended`` (MICRO at the batch size of ``config``).
    """
    small = {**config, "train_batch_size": DENSE_BATCH}
    dense = _dense_epoch(small, batches)
    same_batch = _epoch(small)
    recommended = _epoch(config)
    return {"dense": dense, "same_batch": same_batch, "recommended": recommended}


@one_thread()  # As `train_ranker` does; the dense form may use all.
def _epoch(config: dict[str, Any]) -> float:
    dataset = Dataset.load(config)
    trainer = Trainer(dataset, dataset.new_ranker())
    # The first epoch also pays for allocations and lazy imports.
    trainer.run_epoch(0)
    return seconds(lambda: trainer.run_epoch(1))


def _dense_epoch(config: dict[str, Any], batches: int) -> float:
    dataset = Dataset.load(with_ranker(config, DENSE_MICRO))
    ranker = dataset.new_ranker().train()
    loader = dataset.loader("train")
    optimizer = torch.optim.Adam(ranker.parameters(), lr=1e-3)
    taken = []
    for batch in itertools.islice(loader, batches + 1):
        start = time.perf_counter()
        optimizer.zero_grad()
        torch.stack(ranker.calculate_loss(batch)).sum().backward()
        optimizer.step()
        taken.append(time.perf_counter() - start)
    # The first batch builds the graphs, the others do not.
    return taken[0] + float(np.mean(taken[1:])) * (len(loader) - 1)


def epoch_work(config: dict[str, Any]) -> tuple[float, float]:
    """What an epoch cannot do without: operations of the contrastive products, bytes of the propagations.

    The similarities of anchors with two views are one product and lead to two gradients. Each of two layers over the
    user-item graph and one over each item graph gathers a row per edge, forwards and backwards.
    """
    dataset = Dataset.load(config)
    full: dict[str, Any] = dataset.config.plain()
    interactions, batches = len(dataset.interactions.train[0]), len(dataset.loader("train"))
    dim, modalities = full["embedding_size"], len(full["features"])
    edges = full["n_ui_layers"] * 2 * interactions + modalities * 2 * full["knn_k"] * dataset.n_items
    operations = batches * modalities * 3 * 2 * full["anchors"] * 2 * dataset.n_items * dim
    return operations, batches * 2 * edges * dim * 4


def counterfactual_seconds(config: dict[str, Any], *, triples: int, rebuilds: int = 3) -> dict[str, float]:
    """Seconds for scores of (user, item, new image features) triples by an untrained ranker.

    Args:
        config: RecBole's keys.
        triples: how many scores.
        rebuilds: of the triples, scored by a rebuild with a forward pass for each, from which ``rebuilt`` is
            extrapolated.

    Returns:
        ``ours`` (the inductive score), ``bare`` (the product of features with the catalogue's alone) and ``rebuilt``.
    """
    dataset = Dataset.load(config)
    ranker = dataset.new_ranker().eval()
    view = Counterfactual(ranker)
    generator = torch.Generator().manual_seed(0)
    users = torch.randint(1, dataset.n_users, (triples,), generator=generator)
    items = torch.randint(1, dataset.n_items, (triples,), generator=generator)
    features = torch.randn(triples, view.feature_dim, generator=generator)
    catalogue = ranker.features("image")
    with torch.no_grad():
        ours = seconds(lambda: view.substitute(users, items, features), 2)
        bare = seconds(lambda: [block @ catalogue.T for block in features.split(1024)], 2)
        exact = Counterfactual(ranker, method="exact")
        rebuilt = seconds(lambda: exact.substitute(users[:rebuilds], items[:rebuilds], features[:rebuilds]))
    return {"ours": ours, "bare": bare, "rebuilt": rebuilt / rebuilds * triples}


def full_ranking_seconds(config: dict[str, Any], k: int = 10) -> dict[str, float]:
    """Seconds for every user's top k: ``ours`` as a table of tokens, ``bare`` the product and its top k alone."""
    dataset = Dataset.load(with_ranker(config, "LightGCN"))
    ranker = dataset.new_ranker().eval()
    everybody = range(1, dataset.n_users)
    users, items = ranker.embeddings()

    def bare() -> None:
        # Row 0 is RecBole's padding user.
        for block in users[1:].split(256):
            (block @ items.T).topk(k)

    ours = seconds(lambda: top_lists(lambda some: full_scores(ranker, some), dataset, k=k, users=everybody), 3)
    return {"ours": ours, "bare": seconds(bare, 3)}
