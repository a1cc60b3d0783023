from pathlib import Path
from typing import Any

import pytest
import torch

from recsys.rankers import freedom
from recsys.rankers.modalities import Modalities
from recsys.recbole.dataset import Dataset
from recsys.recbole.keys import with_ranker
from recsys.recbole.models import full_scores
from recsys.recbole.trainer import Trainer
from recsys.recbole.training import train_ranker
from worlds import Checkerboard


def test_the_optimisers_rate_falls_by_a_power_of_the_epoch(micro_config: dict) -> None:
    """MICRO's own schedule, 5e-4 * .96^(epoch / 50): .96^(1/2) = .97979590 after 25 epochs, .96^2 = .9216 after 100."""
    defaults = {key: value for key, value in micro_config.items() if key not in ("lr_decay", "learning_rate")}
    dataset = Dataset.load(defaults)
    trainer = Trainer(dataset, dataset.new_ranker())
    for epoch, share in ((0, 1.0), (25, 0.97979590), (50, 0.96), (100, 0.9216)):
        trainer.run_epoch(epoch)
        assert [group["lr"] for group in trainer.optimizer.param_groups] == [pytest.approx(5e-4 * share, rel=1e-7)]


SCALED = {"enable_amp": True, "enable_scaler": True}


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
    """Two modalities, so that attention has something to weigh. In bfloat16 it keeps 8 bits: the losses of ten epochs
    move by less than 1 %, but they do move; float16 skips its first steps until the scale of its gradients fits. The
    weights stay float32.
    """
    image = micro_config["features"]["image"]
    config = {**micro_config, "features": {"image": image, "again": image}, "epochs": 10, "anchors": 32}
    full = train_ranker(config, tmp_path / "full", progress=False)
    mixed = train_ranker({**config, **half}, tmp_path / "half", progress=False)
    for part in ("bpr", "contrastive"):
        actual, expected = ([row[f"loss.{part}"] for row in ranker.history] for ranker in (mixed, full))
        assert actual != expected
        assert actual == pytest.approx(expected, rel=tolerance)
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


def test_metrics_of_sampled_items_carry_their_mode_in_every_name(world: Checkerboard, tmp_path: Path) -> None:
    """Among one positive and five sampled items the first ten hold every one: Recall@10 is 1, and says of what."""
    evaluation = {"eval_args": {"split": {"LS": "valid_and_test"}, "mode": {"valid": "uni5", "test": "full"}}}
    config = {**world.config, **evaluation, "model": "LightGCN", "epochs": 1, "topk": [10], "valid_metric": "Recall@10"}
    trained = train_ranker(config, tmp_path, progress=False)
    assert set(trained.metrics("valid")) == {"recall@10 (uni5)", "ndcg@10 (uni5)"}
    assert set(trained.metrics("test")) == {"recall@10", "ndcg@10"}
    assert trained.history[-1]["valid.recall@10 (uni5)"] == trained.best_valid == 1.0
