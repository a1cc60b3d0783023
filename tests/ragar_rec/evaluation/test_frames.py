import pytest
import torch

from generation.request import Request
from ragar_rec.evaluation.controls import PersonalFeatures, ShuffledUserSampler
from ragar_rec.evaluation.frames import generate_in_batches, protocol_frame, shuffled_user_requests
from ragar_rec.evaluation.per_user import MEASURED, OWN
from ragar_rec.evaluation.protocols import Candidates, Reference
from recsys.recbole.dataset import Dataset
from toy_scores import product_view, toy_task


def test_a_row_for_every_person_protocol_control_and_metric(dataset: Dataset):
    """Scores of items 1-24 are 24, 23, ... for user 1, twice that for user 2, whose target 24 becomes the best."""
    numbers = [25.0 - n for n in range(25)]
    view = product_view([0.0, 1.0, 2.0, *[1.0] * 28], numbers)
    tasks = [toy_task(numbers, targets=[3], user=1), toy_task([2 * number for number in numbers], targets=[24], user=2)]
    sources = {OWN: [PersonalFeatures({(2, 24): torch.tensor([30.0])}, 1)], "original": [None]}
    frame = protocol_frame(
        tasks,
        [Reference(), Candidates(3)],
        sources,
        view,
        dataset,
        k=10,
        system="mine",
        judge="toy",
        seed=4,
        progress=False,
    )
    assert tuple(frame.columns) == MEASURED
    assert len(frame) == 2 * 2 * 2 * 3
    assert set(frame["metric"]) == {"recall@10", "ndcg@10", "delta_r"}
    assert set(frame["user"]) == {str(dataset.user_tokens[1]), str(dataset.user_tokens[2])}
    assert (set(frame["system"]), set(frame["judge"]), set(frame["seed"])) == ({"mine"}, {"toy"}, {4})
    cells = frame.set_index(["user", "protocol", "control", "metric"])["value"].to_dict()
    one, two = str(dataset.user_tokens[1]), str(dataset.user_tokens[2])
    assert cells[two, "reference", OWN, "delta_r"] == 23 / 25  # from 24th to first
    assert cells[two, "reference", OWN, "recall@10"] == 1
    assert cells[two, "reference", "original", "recall@10"] == 0
    assert cells[two, "candidates", OWN, "recall@10"] == 0  # 24 is no candidate
    # third: 1 / log2(4)
    assert {cells[one, p, c, "ndcg@10"] for p in ("reference", "candidates") for c in sources} == {0.5}


def test_shuffled_users_get_the_same_reference_with_their_own_history(dataset: Dataset):
    tokens = [(str(dataset.user_tokens[n]), str(dataset.item_tokens[n])) for n in (1, 2, 3)]
    requests = [Request(user, item, (), seed=1) for user, item in tokens]
    shuffled = shuffled_user_requests(requests, dataset, ShuffledUserSampler(dataset, 0, range(1, 31)), seed=0)
    for own, other in zip(requests, shuffled, strict=True):
        assert other.reference == own.reference
        assert other.user != own.user
        history = dataset.item_tokens[dataset.history(dataset.user_id(other.user))]
        assert other.history == tuple(map(str, history))
        assert other.reference not in other.history
    assert len({request.seed for request in shuffled}) == 3


def test_no_request_is_an_error():
    class Never:
        def generate(self, requests: object) -> torch.Tensor:
            raise AssertionError

    with pytest.raises(ValueError, match="v_gen: there is no request, as no user has a pictured item"):
        generate_in_batches(Never(), [], progress=False, description="v_gen")
