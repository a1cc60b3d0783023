import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from recsys.features import FeatureTable
from recsys.recbole import checkpoint
from recsys.recbole.keys import with_ranker
from recsys.recbole.models import full_scores
from recsys.recbole.trainer import Trainer
from recsys.recbole.training import TrainedRanker, load_ranker, train_ranker
from worlds import Checkerboard

ROOT = Path(__file__).parents[3]


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


SCALED = {"enable_amp": True, "enable_scaler": True}


@pytest.mark.parametrize(("killed_in", "precision"), [(8, {}), (12, SCALED)])
def test_continuing_after_a_kill_ends_at_the_same_numbers(
    micro_config: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_in: int, precision: dict
) -> None:
    """With a falling learning rate, anchors drawn per batch, and once with float16's moving scale."""
    config = {**micro_config, **precision, "epochs": 15, "lr_decay": 0.9, "anchors": 16}
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
    _assert_same(whole, continued)


def _assert_same(one: TrainedRanker, two: TrainedRanker) -> None:
    """Every epoch's numbers and every weight, to the last bit."""
    without_time = [[{k: v for k, v in row.items() if k != "seconds"} for row in t.history] for t in (one, two)]
    assert without_time[0] == without_time[1]
    assert one.best_epoch == two.best_epoch
    weights = two.ranker.state_dict()
    for name, weight in one.ranker.state_dict().items():
        assert torch.equal(weight, weights[name]), name


KILLED = """
import json, os, sys
from pathlib import Path
from recsys.recbole.trainer import Trainer
from recsys.recbole.training import train_ranker

steps, last, step = 0, int(sys.argv[3]), Trainer.step

def killed(self, batch):
    global steps
    steps += 1
    if steps == last:
        os._exit(9)
    return step(self, batch)

Trainer.step = killed
train_ranker(json.loads(sys.argv[1]), Path(sys.argv[2]), progress=False)
"""


@pytest.mark.slow
def test_a_process_that_dies_amid_an_epoch_is_continued_by_another(world: Checkerboard, tmp_path: Path) -> None:
    """RecBole's NeuMF draws dropout masks; 600 clicks make 5 batches of 128, so step 38 lies in the eighth epoch."""
    config = {key: value for key, value in world.config.items() if key != "embedding_size"}
    # Pointwise: a batch of 256 holds 128 clicks and as many others.
    config |= {"model": "NeuMF", "dropout_prob": 0.5, "epochs": 10, "eval_step": 2, "train_batch_size": 256}
    command = [sys.executable, "-W", "ignore", "-c", KILLED, json.dumps(config), str(tmp_path / "parts"), "38"]
    assert subprocess.run(command, check=False, cwd=ROOT).returncode == 9
    assert json.loads((tmp_path / "parts/ranker.json").read_text())["epoch"] == 6
    whole = train_ranker(config, tmp_path / "whole", progress=False)
    _assert_same(whole, train_ranker(config, tmp_path / "parts", progress=False))


@pytest.mark.gpu
@pytest.mark.parametrize("change", [{}, {"enable_amp": True}, SCALED, {"model": "LightGCN", "fanout": 3}])
def test_on_a_gpu(micro_config: dict, tmp_path: Path, change: dict) -> None:
    """Trained there and loaded here, the ranker scores alike, and its losses are those of a training here."""
    config = with_ranker({**micro_config, "epochs": 5, **change}, change.get("model", "MICRO"))
    on_gpu = train_ranker({**config, "use_gpu": True}, tmp_path / "gpu", progress=False)
    assert on_gpu.ranker.device.type == "cuda"
    assert {weight.device.type for weight in on_gpu.ranker.parameters()} == {"cuda"}
    here = load_ranker(config, tmp_path / "gpu")
    scores = full_scores(on_gpu.ranker, USERS.cuda()).cpu()
    torch.testing.assert_close(scores, full_scores(here.ranker, USERS), atol=1e-4, rtol=1e-3)
    again = train_ranker(config, tmp_path / "cpu", progress=False)
    assert on_gpu.history[-1]["loss.bpr"] == pytest.approx(again.history[-1]["loss.bpr"], rel=0.05)


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


def test_a_cold_item_is_recommended_by_its_image(micro_config: dict, tmp_path: Path) -> None:
    """Without a click in training, a test item of the user's parity scores above one of the other parity."""
    config = {**micro_config, "eval_args": {"split": {"COLD": 0.2}}, "topk": [5], "valid_metric": "Recall@5"}
    trained = train_ranker(config, tmp_path, progress=False)
    dataset = trained.dataset
    cold = np.unique(dataset.interactions.test[1])
    scores = full_scores(trained.ranker, USERS)[:, cold]
    users = torch.tensor([int(token[1:]) % 2 for token in dataset.user_tokens[1:]])
    items = torch.tensor([int(token[1:]) % 2 for token in dataset.item_tokens[cold]])
    right = users[:, None] == items
    own, other = ((scores * part).sum(1) / part.sum(1) for part in (right, ~right))
    assert (own > other).float().mean() > 0.95


def test_a_truncated_state_is_no_checkpoint(
    micro_config: dict, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Loading says so; training begins anew and ends at the same weights."""
    config = {**micro_config, "epochs": 1}
    first = train_ranker(config, tmp_path, progress=False)
    file = tmp_path / checkpoint.STATE
    file.write_text(file.read_text()[:-20])
    with pytest.raises(FileNotFoundError, match=r"holds no finished ranker; train one first"):
        load_ranker(config, tmp_path)
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        f"{file} is damaged and counts as absent"
    ]
    _assert_same(first, train_ranker(config, tmp_path, progress=False))


def test_replacing_a_ranker_logs_the_differences(
    micro_config: dict, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of another catalogue and other settings: one line. A setting that is new, and unset, makes no other ranker."""
    config = {**micro_config, "epochs": 1}
    file = tmp_path / checkpoint.STATE
    train_ranker(config, tmp_path, progress=False)
    state = json.loads(file.read_text())
    assert state["identity"]["settings"].pop("fanout") is None
    file.write_text(json.dumps(state))
    with caplog.at_level(logging.INFO):
        assert train_ranker(config, tmp_path, progress=False).history == state["history"]
        assert not caplog.records
        other = {**config, "knn_k": 6, "eval_args": {"split": {"RS": [0.5, 0.2, 0.3]}}}
        train_ranker(other, tmp_path, progress=False)
    (record,) = caplog.records
    assert record.getMessage().startswith(
        f"the ranker in {tmp_path} is another one and is replaced; different: the interactions or the catalogue; eval_"
    )
    assert record.getMessage().endswith("knn_k: 5 there, 6 here")
    load_ranker(other, tmp_path)


def test_training_leaves_no_litter_and_plain_json(micro_config: dict, empty_folder: Path) -> None:
    train_ranker({**micro_config, "epochs": 1}, empty_folder / "run", progress=False)
    assert [file.name for file in empty_folder.iterdir()] == ["run"]
    state = json.loads((empty_folder / "run/ranker.json").read_text())
    assert state["finished"] is True
    assert state["identity"]["settings"]["knn_k"] == 5


def test_the_same_weights_read_other_features_and_their_graphs_are_computed_anew(
    world: Checkerboard, trained_micro: TrainedRanker, tmp_path: Path
) -> None:
    """The same images under another name change nothing, permuted ones do; the ranker itself stays as it is."""
    before, table = full_scores(trained_micro.ranker, USERS), FeatureTable.read(world.image)
    scores = {}
    for name, other in {"same": table, "permuted": table.permuted(0)}.items():
        other.write(tmp_path / f"{name}.safetensors")
        reading = trained_micro.with_features({"image": tmp_path / f"{name}.safetensors"})
        scores[name] = full_scores(reading.ranker, USERS)
    assert torch.equal(scores["same"], before)
    assert not torch.allclose(scores["permuted"], before, atol=1e-3)
    assert torch.equal(full_scores(trained_micro.ranker, USERS), before)
    assert trained_micro.dataset.config["features"] == {"image": str(world.image)}
