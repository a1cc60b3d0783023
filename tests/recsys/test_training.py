import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch

from recsys import checkpoint
from recsys.features import FeatureTable
from recsys.recbole import Dataset, full_scores, with_ranker
from recsys.trainer import Trainer
from recsys.training import TrainedRanker, load_ranker, train_ranker
from worlds import Checkerboard

USERS = torch.arange(1, 61)


def test_the_best_validation_is_kept_and_loaded(micro_config: dict, tmp_path: Path) -> None:
    trained = train_ranker(micro_config, tmp_path, progress=False)
    validations = {row["epoch"]: row["valid.recall@20"] for row in trained.history if "valid.recall@20" in row}
    assert list(validations) == [5, 10, 15, 20, 25, 30]
    assert trained.best_valid == max(validations.values())
    assert trained.best_epoch == min(epoch for epoch, value in validations.items() if value == trained.best_valid)
    assert trained.metrics("valid")["recall@20"] == pytest.approx(trained.best_valid, abs=1e-7)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["ranker.json", "ranker.safetensors"]
    loaded = load_ranker(micro_config, tmp_path)
    assert torch.equal(full_scores(loaded.ranker, USERS), full_scores(trained.ranker, USERS))
    assert loaded.history == trained.history
    assert not loaded.ranker.training


def test_the_loss_falls(trained_micro: TrainedRanker) -> None:
    """Untrained, BPR is log 2 = 0.693. Knowing the parity alone orders half of the pairs: below 0.8 of that."""
    losses = [row["loss.bpr"] for row in trained_micro.history]
    assert losses[-1] < 0.8 * 0.693 < losses[0]
    assert {"loss.reg", "loss.contrastive", "seconds"} <= trained_micro.history[0].keys()


def test_same_seed_same_ranker(micro_config: dict, tmp_path: Path) -> None:
    config = {**micro_config, "epochs": 5}
    first = train_ranker(config, tmp_path / "a", progress=False)
    torch.rand(3)  # whatever the process draws in between
    second = train_ranker(config, tmp_path / "b", progress=False)
    other = train_ranker({**config, "seed": 8}, tmp_path / "c", progress=False)
    assert torch.equal(full_scores(first.ranker, USERS), full_scores(second.ranker, USERS))
    assert not torch.equal(full_scores(first.ranker, USERS), full_scores(other.ranker, USERS))


@pytest.mark.parametrize("killed_in", [8, 12])
def test_continuing_after_a_kill_ends_at_the_same_numbers(
    micro_config: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_in: int
) -> None:
    config = {**micro_config, "epochs": 15, "lr_decay": 0.9}
    whole = train_ranker(config, tmp_path / "whole", progress=False)
    run_epoch = Trainer.run_epoch

    def interrupted(self: Trainer, epoch: int, **options) -> dict[str, float]:
        if epoch == killed_in:
            raise KeyboardInterrupt
        return run_epoch(self, epoch, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "run_epoch", interrupted)
        train_ranker(config, tmp_path / "parts", progress=False)
    with pytest.raises(FileNotFoundError, match="no finished ranker"):
        load_ranker(config, tmp_path / "parts")
    continued = train_ranker(config, tmp_path / "parts", progress=False)
    without_time = [[{k: v for k, v in row.items() if k != "seconds"} for row in t.history] for t in (whole, continued)]
    assert without_time[0] == without_time[1]
    assert torch.equal(full_scores(whole.ranker, USERS), full_scores(continued.ranker, USERS))


def test_a_finished_ranker_is_not_trained_again(
    micro_config: dict, trained_micro: TrainedRanker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {**micro_config, "epochs": 2}
    train_ranker(config, tmp_path, progress=False)
    monkeypatch.setattr(Trainer, "run_epoch", None)
    assert len(train_ranker(config, tmp_path, progress=False).history) == 2


def test_training_stops_after_patience(world: Checkerboard, tmp_path: Path) -> None:
    """Withheld items have no clicks, so LightGCN's validation Recall@1 stays 0: best in the first, then 3 more."""
    config = {**world.config, "model": "LightGCN", "eval_step": 1, "stopping_step": 3, "topk": [1]}
    trained = train_ranker({**config, "valid_metric": "Recall@1"}, tmp_path, progress=False)
    assert (trained.best_epoch, len(trained.history)) == (1, 4)


def test_a_checkpoint_of_something_else_is_refused(micro_config: dict, world: Checkerboard, tmp_path: Path) -> None:
    config = {**micro_config, "epochs": 1}
    train_ranker(config, tmp_path / "run", progress=False)
    with pytest.raises(ValueError, match=r"another one; different: knn_k: 5 there, 6 here$"):
        load_ranker({**config, "knn_k": 6}, tmp_path / "run")
    with pytest.raises(ValueError, match="the interactions or the catalogue"):
        load_ranker({**config, "eval_args": {"split": {"RS": [0.5, 0.2, 0.3]}}}, tmp_path / "run")
    table = FeatureTable.read(world.image)
    changed = table.values.copy()
    changed[0, 0] += 1
    FeatureTable(table.ids, changed).write(tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="different: the features image"):
        load_ranker({**config, "features": {"image": str(tmp_path / "other.safetensors")}}, tmp_path / "run")
    # The same content under another path is the same ranker.
    (tmp_path / "copy.safetensors").write_bytes(Path(world.image).read_bytes())
    load_ranker({**config, "features": {"image": str(tmp_path / "copy.safetensors")}}, tmp_path / "run")


def test_a_checkpoint_whose_features_belong_to_other_items_is_refused(
    micro_config: dict, world: Checkerboard, tmp_path: Path
) -> None:
    """The same matrix beside its tokens in another order."""
    table = FeatureTable.read(world.image)
    np.save(tmp_path / "image.npy", table.values)
    tokens = tmp_path / "image.ids.txt"
    tokens.write_text("\n".join(table.ids))
    config = {**micro_config, "epochs": 1, "features": {"image": str(tmp_path / "image.npy")}}
    train_ranker(config, tmp_path / "run", progress=False)
    load_ranker({**config, "missing_features": "hole"}, tmp_path / "run")
    tokens.write_text("\n".join(table.ids[::-1]))
    with pytest.raises(ValueError, match=r"different: the features image$"):
        load_ranker(config, tmp_path / "run")


def test_a_cold_item_is_recommended_by_its_image(micro_config: dict, tmp_path: Path) -> None:
    """Without a click in training, a test item of the user's parity scores above one of the other parity."""
    config = {**micro_config, "eval_args": {"split": {"COLD": 0.2}}}
    trained = train_ranker(config, tmp_path, progress=False)
    dataset = trained.dataset
    cold = np.unique(dataset.interactions.test[1])
    scores = full_scores(trained.ranker, USERS)[:, cold]
    users = torch.tensor([int(token[1:]) % 2 for token in dataset.user_tokens[1:]])
    items = torch.tensor([int(token[1:]) % 2 for token in dataset.item_tokens[cold]])
    right = users[:, None] == items
    own, other = ((scores * part).sum(1) / part.sum(1) for part in (right, ~right))
    assert (own > other).float().mean() > 0.95


def test_a_truncated_checkpoint(micro_config: dict, tmp_path: Path) -> None:
    config = {**micro_config, "epochs": 1}
    train_ranker(config, tmp_path, progress=False)
    weights = tmp_path / checkpoint.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"ranker\.safetensors cannot be read"):
        load_ranker(config, tmp_path)


def test_missing_features_are_named(micro_config: dict, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no feature file"):
        train_ranker({**micro_config, "features": {"image": str(tmp_path / "x")}}, tmp_path, progress=False)


def test_training_leaves_no_litter_and_plain_json(micro_config: dict, empty_folder: Path) -> None:
    train_ranker({**micro_config, "epochs": 1}, empty_folder / "run", progress=False)
    assert [file.name for file in empty_folder.iterdir()] == ["run"]
    state = json.loads((empty_folder / "run/ranker.json").read_text())
    assert state["finished"] is True
    assert state["identity"]["settings"]["knn_k"] == 5


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
