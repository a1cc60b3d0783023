from pathlib import Path

import numpy as np
import torch

from recsys.recbole.keys import with_ranker
from recsys.recbole.models import full_scores
from recsys.recbole.training import train_ranker
from recsys.scoring.ranks import held_out_ranks
from worlds import Checkerboard


def test_pop_counts_training_clicks(world: Checkerboard, tmp_path: Path) -> None:
    trained = train_ranker(with_ranker(world.config, "Pop"), tmp_path, progress=False)
    counts = np.bincount(trained.dataset.interactions.train[1], minlength=trained.dataset.n_items)
    scores = full_scores(trained.ranker, torch.tensor([1]))[0]
    np.testing.assert_allclose(scores[1:], counts[1:] / counts.max(), rtol=1e-6)
    # Nobody clicked a withheld item in training: every one ties with 41 others and stands behind all of them.
    ranks = held_out_ranks(lambda users: full_scores(trained.ranker, users), trained.dataset)
    assert ranks["rank"].min() > 60 - 10
    assert trained.metrics()["recall@10"] == 0
