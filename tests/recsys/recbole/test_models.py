from pathlib import Path

import pytest
import scipy.sparse
import torch

from recsys.recbole.dataset import Dataset
from recsys.recbole.keys import with_ranker
from recsys.recbole.models import full_scores
from recsys.recbole.training import load_ranker, train_ranker
from worlds import Checkerboard

USERS = torch.arange(1, 61)


def test_recboles_graph_rankers_run_on_newer_scipy(world: Checkerboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """`dok_matrix._update` is gone since scipy 1.13; NGCF needs it, scores the same without, and it stays gone."""
    dataset = Dataset.load(with_ranker(world.config, "NGCF"))
    scores = full_scores(dataset.new_ranker().eval(), USERS)
    for owner in (kind for kind in scipy.sparse.dok_matrix.__mro__ if "_update" in vars(kind)):
        monkeypatch.delattr(owner, "_update")
    assert torch.equal(full_scores(dataset.new_ranker().eval(), USERS), scores)
    assert not hasattr(scipy.sparse.dok_matrix, "_update")


@pytest.mark.parametrize("model", ["BPR", "ItemKNN"])
def test_recboles_own_rankers_run_by_name(world: Checkerboard, tmp_path: Path, model: str) -> None:
    """Both know clicks: of the 60 ordinary items, those of the user's parity score higher for nearly all."""
    # Withheld items cannot be learned from clicks: no validation, or the untrained epoch would be kept.
    config = with_ranker({**world.config, "eval_step": 0, "seed": 1}, model)
    trained = train_ranker(config, tmp_path, progress=False)
    assert trained.best_valid is None
    dataset = trained.dataset
    scores = full_scores(trained.ranker, USERS)
    ordinary = [dataset.item_id(f"i{n}") for n in range(60)]
    users = torch.tensor([world.parity[token] for token in dataset.user_tokens[1:]])
    right = users[:, None] == torch.tensor([world.parity[f"i{n}"] for n in range(60)])
    own = (scores[:, ordinary] * right).sum(1) / right.sum(1)
    other = (scores[:, ordinary] * ~right).sum(1) / (~right).sum(1)
    assert (own > other).float().mean() > 0.95
    assert torch.equal(full_scores(load_ranker(config, tmp_path).ranker, USERS), scores)
