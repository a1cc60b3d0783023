import re

import numpy as np
import pytest

from ragar_rec.evaluation import requests as requests_module
from ragar_rec.evaluation.controls import ShuffledUserSampler
from ragar_rec.evaluation.people import known_history
from ragar_rec.evaluation.protocols import Candidates, Reference
from ragar_rec.evaluation.requests import RequestFactory, RequestLine, pairs_to_draw, read_requests, resolve_pairs
from recsys.recbole.dataset import Dataset
from toy_scores import toy_task


def test_pairs_to_draw_are_the_users_own_and_those_of_the_shuffled_user(dataset: Dataset):
    """Reference needs the target 5, candidates the top two, 1 and 3 (2 was seen); 3 has no picture."""
    task = toy_task([0.0, *(30.0 - n for n in range(dataset.n_items - 1))], targets=[5], seen=[2])
    shuffled_user = ShuffledUserSampler(dataset, 0, range(1, 31))
    protocols = [Reference(), Candidates(2)]
    assert [protocol.items(task).tolist() for protocol in protocols] == [[5], [1, 3]]
    other, another = (shuffled_user(task.user, protocol.items(task)) for protocol in protocols)
    assert pairs_to_draw([task], protocols, shuffled_user, {1, 5}) == [(1, 5), (other, 5), (1, 1), (another, 1)]
    assert pairs_to_draw([task, task], protocols, shuffled_user, {1, 5}) == [(1, 5), (other, 5), (1, 1), (another, 1)]
    assert pairs_to_draw([task], protocols, shuffled_user, set()) == []


def test_a_request_has_the_history_before_the_test_and_a_seed_of_its_own(dataset: Dataset):
    request_for = RequestFactory(dataset, seed=0)
    request = request_for((3, 7))
    assert request.user == dataset.user_tokens[3]
    assert request.reference == dataset.item_tokens[7]
    assert request.history == known_history(dataset, 3)
    assert request == RequestFactory(dataset, seed=0)((3, 7))
    seeds = {request_for((user, item)).seed for user in (3, 4) for item in (7, 8)} | {
        RequestFactory(dataset, seed=1)((3, 7)).seed
    }
    assert len(seeds) == 5


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("user_id,item\n3,7\n", "wanted.csv has no column item_id; its columns are user_id, item"),
        ("", "wanted.csv has no column user_id, item_id; its columns are "),
        ("user_id,item_id\n\n", "wanted.csv holds no request below its columns' names"),
        ("user_id,item_id\n3,7\n3\n", "wanted.csv, line 3: no item_id"),
        ("user_id,item_id\n3,7\n\n,7\n", "wanted.csv, line 4: no user_id"),
        ("user_id,item_id\n3,7\n99,7\n", "wanted.csv, line 3: the prepared data set has no user '99'"),
        ('user_id,item_id\n3,"Toy Story, The"\n', "line 2: the prepared data set has no item 'Toy Story, The'"),
        ("item_id,user_id,note\n7,3,x\n24,3,y\n", "line 3: item '24' has no picture, so that none can be made of it"),
    ],
)
def test_a_request_that_cannot_be_answered_is_named_with_its_line(dataset: Dataset, tmp_path, text, sentence):
    file = tmp_path / "wanted.csv"
    file.write_text(text)
    with pytest.raises(ValueError, match=re.escape(sentence)):
        resolve_pairs(read_requests(file), dataset, {"7", "8"})


def test_a_request_for_a_user_without_a_history_is_named(dataset: Dataset, monkeypatch):
    monkeypatch.setattr(requests_module, "users_with_history", lambda dataset: np.array([1, 2]))
    lines = [RequestLine("wanted.csv, line 2", str(dataset.user_tokens[user]), "7") for user in (2, 3)]
    assert resolve_pairs(lines[:1], dataset, {"7"}) == [(2, dataset.item_id("7"))]
    with pytest.raises(ValueError, match=rf"line 2: user '{lines[1].user}' has no interaction before the test"):
        resolve_pairs(lines, dataset, {"7"})


def test_requests_are_read_by_their_columns_names_and_count_once(dataset: Dataset, tmp_path):
    file = tmp_path / "wanted.csv"
    file.write_text("note, item_id ,user_id\nx,7,3\ny, 8,3\nz,7,3 \n", encoding="utf-8-sig")
    pairs = resolve_pairs(read_requests(file), dataset, {"7", "8"})
    assert pairs == [(dataset.user_id("3"), dataset.item_id("7")), (dataset.user_id("3"), dataset.item_id("8"))]
    with pytest.raises(FileNotFoundError, match=r"no requests at .*gone\.csv: name a CSV file with"):
        read_requests(tmp_path / "gone.csv")
    file.write_bytes(b"user_id,item_id\n\xff,7\n")
    with pytest.raises(ValueError, match=r"wanted\.csv, line 2 is not UTF-8 .*: save it as UTF-8"):
        read_requests(file)
