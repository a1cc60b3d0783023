import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch

from recsys.features import FeatureTable
from recsys.rankers import freedom
from recsys.rankers.modalities import Modalities
from recsys.recbole import checkpoint
from recsys.recbole.config import with_ranker
from recsys.recbole.dataset import Dataset
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


def test_the_optimisers_rate_falls_by_a_power_of_the_epoch(micro_config: dict) -> None:
    """MICRO's own schedule, 5e-4 * .96^(epoch / 50): .96^(1/2) = .97979590 after 25 epochs, .96^2 = .9216 after 100."""
    defaults = {key: value for key, value in micro_config.items() if key not in ("lr_decay", "learning_rate")}
    dataset = Dataset.load(defaults)
    trainer = Trainer(dataset, dataset.new_ranker())
    for epoch, share in ((0, 1.0), (25, 0.97979590), (50, 0.96), (100, 0.9216)):
        trainer.run_epoch(epoch)
        assert [group["lr"] for group in trainer.optimizer.param_groups] == [pytest.approx(5e-4 * share, rel=1e-7)]


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


@pytest.mark.parametrize("model", ["MICRO", "LightGCN"])
def test_several_negatives_per_positive(micro_config: dict, world: Checkerboard, model: str) -> None:
    """The loss of a batch with 3 negatives is the mean over its 3 n pairs, each worked out from the scores in float64;
    the contrastive loss, which knows no pairs, is that of any other batch.
    """
    config = {**(micro_config if model == "MICRO" else world.config), "model": model, "reg_weight": 0.1}
    dataset = Dataset.load({**config, "train_neg_sample_args": {"sample_num": 3}})
    ranker = dataset.new_ranker()
    batch = next(iter(dataset.loader("train")))
    user, item, other = (batch[key] for key in ("user_id", "item_id", "neg_item_id"))
    assert len(user) == 126  # 42 clicks, 128 being no multiple of 3
    clicks = torch.stack([user, item]).view(2, 3, 42)
    assert torch.equal(clicks[:, 0], clicks[:, 1])
    assert torch.equal(clicks[:, 0], clicks[:, 2])
    for person, unseen in zip(user.tolist(), other.tolist(), strict=True):
        assert unseen not in dataset.history(person)
    assert not torch.equal(other.view(3, 42)[0], other.view(3, 42)[1])

    scores = full_scores(ranker.eval(), user).double()
    margin = scores.gather(1, item[:, None]) - scores.gather(1, other[:, None])
    users, items = ranker.forward()
    if model == "LightGCN":  # it regularises the initial embeddings, MICRO the propagated ones
        users, items = ranker.user_embedding.weight, ranker.item_embedding.weight
    norms = [users[user].square().sum(1) + items[item].square().sum(1) + items[other].square().sum(1)]
    losses = ranker.train().calculate_loss(batch)
    torch.testing.assert_close(losses[0].double(), -torch.log(torch.sigmoid(margin)).mean(), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(losses[1], 0.1 * norms[0].mean() / 2)
    if model == "MICRO":
        one = {"user_id": user[:1], "item_id": item[:1], "neg_item_id": other[:1]}
        torch.testing.assert_close(ranker.calculate_loss(one)[2], losses[2])


def test_negatives_that_the_ranker_itself_chooses(world: Checkerboard, tmp_path: Path) -> None:
    """RecBole's `dynamic`: of 5 candidates the one with the highest score is the negative, so that BPR is harder."""
    config, losses = {**world.config, "model": "LightGCN", "epochs": 5}, []
    for number, arguments in enumerate([{}, {"dynamic": True, "candidate_num": 5}]):
        settings = {**config, "train_neg_sample_args": arguments}
        losses.append(train_ranker(settings, tmp_path / str(number), progress=False).history[-1]["loss.bpr"])
    assert losses[1] > 1.2 * losses[0]


@pytest.mark.parametrize(
    ("model", "where", "builder", "times"),
    [
        ("MICRO", Modalities, "learned_graph", 2),
        ("LATTICE", Modalities, "learned_graph", 2),
        ("FREEDOM", freedom, "degree_sensitive_draw", 1),
    ],
)
def test_an_epochs_graph_outlasts_negatives_that_the_ranker_chooses(
    micro_config: dict, monkeypatch: pytest.MonkeyPatch, model: str, where: Any, builder: str, times: int
) -> None:
    """The sampler evaluates before each of 5 batches. A learned graph is built for its first scores and, with
    gradient, for the first batch; the clicks are thinned once. Evaluation afterwards builds its learned graph.
    """
    built, build = [], getattr(where, builder)
    monkeypatch.setattr(where, builder, lambda *given, **named: built.append(1) or build(*given, **named))
    config = with_ranker({**micro_config, "train_neg_sample_args": {"dynamic": True, "candidate_num": 2}}, model)
    dataset = Dataset.load(config)
    trainer = Trainer(dataset, dataset.new_ranker())
    before = trainer.model.projections.of("image").weight.clone()
    for epoch in (1, 2):
        trainer.run_epoch(epoch)
        assert len(built) == epoch * times
    assert not torch.equal(trainer.model.projections.of("image").weight, before)
    trainer.evaluate_on("valid")
    assert len(built) == 2 * times + (model != "FREEDOM")


@pytest.mark.parametrize(("half", "tolerance"), [({"enable_amp": True}, 0.01), (SCALED, 0.05)])
def test_half_precision_is_close_to_float32(micro_config: dict, tmp_path: Path, half: dict, tolerance: float) -> None:
    """Two modalities, so that attention has something to weigh. In bfloat16 it keeps 8 bits: the loss of ten epochs
    moves by less than 1 %, but it does move; float16 skips its first steps until the scale of its gradients fits. The
    weights stay float32.
    """
    image = micro_config["features"]["image"]
    config = {**micro_config, "features": {"image": image, "again": image}, "epochs": 10, "anchors": 32}
    full = train_ranker(config, tmp_path / "full", progress=False)
    mixed = train_ranker({**config, **half}, tmp_path / "half", progress=False)
    for part in ("bpr", "contrastive"):
        found, wanted = mixed.history[-1][f"loss.{part}"], full.history[-1][f"loss.{part}"]
        assert found != wanted
        assert found == pytest.approx(wanted, rel=tolerance)
    assert {weight.dtype for weight in mixed.ranker.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr_decay": 0.9, "lr_decay_epochs": 0}, "lr_decay_epochs is 0, but must be a number above 0"),
        ({"lr_decay": -0.9}, "lr_decay is -0.9, but must be a number above 0"),
        ({"enable_scaler": True}, "enable_scaler goes with enable_amp: true"),
    ],
)
def test_impossible_settings(world: Checkerboard, tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train_ranker({**world.config, "model": "LightGCN", **change}, tmp_path / "run", progress=False)


@pytest.mark.gpu
@pytest.mark.parametrize("change", [{}, {"enable_amp": True}, SCALED, {"model": "LightGCN", "fanout": 3}])
def test_on_a_gpu(micro_config: dict, tmp_path: Path, change: dict) -> None:
    """Trained there and loaded here, the ranker scores alike, and its losses are those of a training here."""
    config = with_ranker({**micro_config, "epochs": 5, **change}, change.get("model", "MICRO"))
    there = train_ranker({**config, "use_gpu": True}, tmp_path / "gpu", progress=False)
    assert there.ranker.device.type == "cuda"
    assert {weight.device.type for weight in there.ranker.parameters()} == {"cuda"}
    here = load_ranker(config, tmp_path / "gpu")
    scores = full_scores(there.ranker, USERS.cuda()).cpu()
    torch.testing.assert_close(scores, full_scores(here.ranker, USERS), atol=1e-4, rtol=1e-3)
    again = train_ranker(config, tmp_path / "cpu", progress=False)
    assert there.history[-1]["loss.bpr"] == pytest.approx(again.history[-1]["loss.bpr"], rel=0.05)


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


@pytest.mark.parametrize("kept", [100, 0, None])
def test_a_truncated_or_missing_file_to_go_on_from(
    micro_config: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int | None
) -> None:
    """One sentence, whose advice works: without the folder the training begins anew."""
    config, folder = {**micro_config, "epochs": 2, "eval_step": 1}, tmp_path / "run"
    run_epoch = Trainer.run_epoch
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "run_epoch", lambda self, epoch: _stop() if epoch else run_epoch(self, epoch))
        train_ranker(config, folder, progress=False)
    file = checkpoint.resume_file(folder, 1)
    whole = file.read_bytes()
    file.unlink() if kept is None else file.write_bytes(whole[:kept])
    with pytest.raises(
        ValueError, match=rf"^{file} cannot be read \(.*\); delete the folder {folder} and train the ranker again$"
    ):
        train_ranker(config, folder, progress=False)
    shutil.rmtree(folder)
    assert len(train_ranker(config, folder, progress=False).history) == 2


def _stop() -> dict[str, float]:
    raise KeyboardInterrupt


def test_a_ranker_that_is_replaced_is_spoken_of(
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


def test_a_ranker_of_ones_own_is_another_one_with_other_code(
    world: Checkerboard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ranker of ours has no code in its identity."""
    file, folder = tmp_path / "shop_with_code.py", tmp_path / "ranker"
    file.write_text("from recsys.rankers.pop import Pop\n\n\nclass Own(Pop):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    config = with_ranker(world.config, "shop_with_code:Own")
    train_ranker(config, folder, progress=False)
    load_ranker(config, folder)
    file.write_text(file.read_text() + "# another text\n")
    with pytest.raises(ValueError, match="is another one; different: code: "):
        load_ranker(config, folder)
    ours = train_ranker(with_ranker(world.config, "Pop"), tmp_path / "ours", progress=False)
    assert ours.dataset.config.code is None
    assert "code" not in json.loads((tmp_path / "ours" / checkpoint.STATE).read_text())["identity"]["settings"]


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
