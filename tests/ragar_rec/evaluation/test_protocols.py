from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from film_world import TINY
from ragar_rec.evaluation.protocols import Candidates, EvaluationProtocol, Reference, measure, tasks
from recsys.data import ml_latest
from recsys.recbole.dataset import Dataset
from recsys.scoring.counterfactual import Counterfactual
from recsys.scoring.metrics import recall_at
from recsys.scoring.ranks import held_out_ranks
from toy_scores import product_view, toy_task

# Item 5 was seen. Ranks: item 1 first, items 2 and 3 share place 2-3 and so both stand third, item 4 fourth.
TASK = toy_task([9, 5, 4, 4, 3, 8], targets=[4, 2], seen=[5])
SCORES = st.integers(-3, 3).map(float)


class Constant:
    """A source with the same feature for every item that is present."""

    def __init__(self, value: float, present: set[int]) -> None:
        self.value, self.present = value, present

    def features(self, user: int, items: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.full((len(items), 1), self.value), torch.tensor([int(item) in self.present for item in items])


@pytest.mark.parametrize(
    ("item", "score", "rank"),
    [
        *[(1, 5, 1), (2, 4, 3), (3, 4, 3), (4, 3, 4)],  # the scores they have
        *[(4, 4, 4), (4, 4.5, 2), (4, 5, 2), (4, 6, 1), (1, 1, 4), (1, 4, 3), (2, 3, 4)],
    ],
)
def test_ranks_by_hand_equal_scores_stand_before(item, score, rank):
    """Seen items and padding are no rivals, the item's own old score is none either."""
    assert TASK.ranks(np.array([item]), torch.tensor([float(score)])).tolist() == [rank]


@given(st.lists(SCORES, min_size=3, max_size=9), st.data())
def test_ranks_are_those_of_the_whole_list_with_one_score_replaced(scores, data):
    task = toy_task([0.0, *scores], targets=[1, 2], seen=[3])
    item, new = data.draw(st.integers(1, len(scores))), data.draw(SCORES)
    changed = task.scores.clone()
    changed[item] = new
    at_least = sum(score >= new for other, score in enumerate(changed.tolist()) if other not in (0, 3, item))
    assert task.ranks(np.array([item]), torch.tensor([new]))[0] == at_least + 1


def test_reference_takes_the_earliest_targets():
    assert Reference().items(TASK).tolist() == [4, 2]
    assert Reference(targets=1).items(TASK).tolist() == [4]
    before, after = Reference(targets=1).ranks(TASK, torch.tensor([4.5]))
    assert (before.tolist(), after.tolist()) == ([4], [2])


def test_reference_changes_one_item_at_a_time():
    """Item 4 rises to 4.5 and item 2 falls to 3.5: each is ranked in a world where the other stayed where it was."""
    before, after = Reference().ranks(TASK, torch.tensor([4.5, 3.5]))
    assert (before.tolist(), after.tolist()) == ([4, 3], [2, 3])
    _, other = Reference().ranks(TASK, torch.tensor([4.5, -9.0]))
    assert other.tolist() == [2, 4]


def test_candidates_are_the_top_and_are_ranked_among_themselves():
    """Top 3 is 1, 2, 3. Scored 1, 2, 3 they turn round: target 2 stays second; target 4 is outside and stays fourth."""
    assert Candidates(3).items(TASK).tolist() == [1, 2, 3]
    before, after = Candidates(3).ranks(TASK, torch.tensor([1.0, 2.0, 3.0]))
    assert (before.tolist(), after.tolist()) == ([4, 2], [4, 2])
    _, after = Candidates(3).ranks(TASK, torch.tensor([1.0, 9.0, 3.0]))
    assert after.tolist() == [4, 1]
    _, after = Candidates(3).ranks(TASK, torch.tensor([7.0, 7.0, 7.0]))
    assert after.tolist() == [4, 2]  # equal new scores keep the order


def test_candidates_never_reach_for_what_was_seen():
    """Four items are left of six; C = 10 takes these four."""
    assert Candidates(10).items(TASK).tolist() == [1, 2, 3, 4]


@settings(max_examples=200)
@given(st.lists(SCORES, min_size=4, max_size=12), st.integers(1, 12), st.data())
def test_recall_at_c_cannot_change_under_candidates(scores, c, data):
    """Whatever the C new scores are: ranks beyond C stay, ranks up to C are a permutation."""
    targets = data.draw(st.lists(st.sampled_from([1, 2, 3]), min_size=1, unique=True))
    task = toy_task([0.0, *scores], targets, seen=[4])
    protocol = Candidates(c)
    count = len(protocol.items(task))
    new = torch.tensor(data.draw(st.lists(SCORES, min_size=count, max_size=count)))
    before, after = protocol.ranks(task, new)
    assert recall_at(before, c) == recall_at(after, c)
    assert (before[before > c] == after[before > c]).all()
    assert ((before <= c) == (after <= c)).all()
    assert len(set(after[after <= c])) == (after <= c).sum()


@pytest.mark.parametrize("protocol", [Reference(), Reference(1), Candidates(2), Candidates(3), Candidates(10)])
@pytest.mark.parametrize("source", [None, Constant(0.0, set())])
def test_the_original_pictures_change_nothing(protocol: EvaluationProtocol, source):
    """No source, and one that has no picture of anything: the ranks are the original ones."""
    found = measure(protocol, TASK, product_view([0, 1], [0, 5, 4, 4, 3, 8]), [source], 3)
    assert [metrics["delta_r"] for metrics in found] == [0]


def test_measure_by_hand():
    """Reference: item 4 gets a picture worth 4.5 and rises from 4 to 2, item 2 has none and stays third.

    Delta R (4 - 2) / 5 and 0, mean 0.2. Recall@2 is 1/2; NDCG@2 is (1 / log2 3) / (1 + 1 / log2 3) = 0.3869.
    """
    view = product_view([0, 1], [0, 5, 4, 4, 3, 8])
    found = measure(Reference(), TASK, view, [Constant(4.5, {4})], 2)
    assert found == [pytest.approx({"recall@2": 0.5, "ndcg@2": 0.3869, "delta_r": 0.2}, abs=1e-4)]


def test_sources_measured_together_are_as_each_alone():
    """One that has both pictures, none, the original ones, and one that has a single one.

    Delta R of both is (4 - 2) / 5 and (3 - 2) / 4, mean 0.325.
    """
    view = product_view([0, 1], [0, 5, 4, 4, 3, 8])
    sources = [Constant(4.5, {2, 4}), Constant(9.0, set()), None, Constant(4.5, {4})]
    together = measure(Reference(), TASK, view, sources, 2)
    assert together == [measure(Reference(), TASK, view, [source], 2)[0] for source in sources]
    assert [metrics["delta_r"] for metrics in together] == pytest.approx([0.325, 0, 0, 0.2])


def test_tasks_leave_out_what_was_seen_and_keep_what_was_held_out(dataset: Dataset):
    values = np.random.default_rng(0).normal(size=dataset.n_items)
    view: Counterfactual = product_view(np.linspace(1, 2, dataset.n_users).tolist(), values.tolist())
    users = [1, 7, 30]
    for task, user in zip(tasks(dataset, view, users), users, strict=True):
        train, valid, test = (set(i[u == user].tolist()) for u, i in vars(dataset.interactions).values())
        assert task.user == user
        assert set(task.targets.tolist()) == test
        allowed = set(torch.isfinite(task.scores).nonzero()[:, 0].tolist())
        assert allowed == set(range(1, dataset.n_items)) - train - valid
        own = view.scores(torch.tensor([user]))[0]
        assert torch.equal(task.scores[list(allowed)], own[list(allowed)])


def test_cold_items_are_ranked_among_each_other_as_elsewhere(films: Path, tmp_path: Path) -> None:
    """Ranks of tasks are those of `held_out_ranks`, and nobody's candidates have been trained."""
    ml_latest.prepare(films, tmp_path)
    keys = {key: TINY[key] for key in ("dataset", "TIME_FIELD", "load_col", "use_gpu", "topk")}
    split = {"eval_args": {"split": {"COLD": 0.4}}, "topk": [3], "valid_metric": "Recall@3"}
    dataset = Dataset.load({**keys, **split, "data_path": str(tmp_path)})
    rng = np.random.default_rng(0)
    view = product_view(rng.normal(size=dataset.n_users).tolist(), rng.normal(size=dataset.n_items).tolist())
    expected = held_out_ranks(view.scores, dataset).groupby("user")["rank"].apply(sorted)
    cold = set(dataset.candidates("test").tolist())  # pyright: ignore[reportOptionalMemberAccess]
    users = np.unique(dataset.interactions.test[0])
    for task in tasks(dataset, view, users):
        ranks = task.ranks(task.targets, task.scores[torch.from_numpy(task.targets)])
        assert sorted(ranks.tolist()) == expected[dataset.user_tokens[task.user]]
        assert set(Candidates(10).items(task).tolist()) <= cold
