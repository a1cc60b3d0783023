"""A planted shop of two dozen posters: the log, the lists, and true expectations that can be worked out again."""

from pathlib import Path

import numpy as np
import pytest
import torch

from film_world import config_file
from generation.request import Request
from ragar_rec.evaluation.worlds.clicks import inclusion
from ragar_rec.evaluation.worlds.truth import expected_ndcg
from ragar_rec.studies.arguments import ExperimentSource
from ragar_rec.studies.planted_shop import BEST, RAGAR, SYSTEMS, PlantedShop, Size

SMALL = Size(people=30, clicks=10, next_clicks=2, measured=3, steps=2)
N_FILMS = 23
"""With a poster."""


@pytest.fixture(scope="module")
def study(films: Path, tmp_path_factory: pytest.TempPathFactory) -> PlantedShop:
    """A shop of the films with a poster; VBPR on the dual encoder rewards. Nothing is trained for it."""
    home = tmp_path_factory.mktemp("planted")
    config = config_file(
        home,
        model="VBPR",
        eval_args={"split": {"RS": [0.8, 0.1, 0.1]}, "order": "TO", "group_by": "user", "mode": "full"},
        features={"image_encoder": "dual", "text_dim": 4},
        reflection__objective="path",
        knn_k=None,
    )
    return PlantedShop(ExperimentSource(config, (), films, None, home / "out"), SMALL, 1)


def test_the_log_is_what_the_shop_clicked(study: PlantedShop) -> None:
    """30 people clicked 10 of 23 films with a poster; of these one is for validation and one for the test."""
    dataset = study.run.ranker.dataset
    assert [len(getattr(dataset.interactions, part)[0]) for part in ("train", "valid", "test")] == [240, 30, 30]
    assert len(study.shop.items) == N_FILMS
    assert study.run.config.recbole["seed"] == 2021
    assert study.run.config.generator.seed == study.run.config.reflection.seed == 1


def test_lists_are_of_films_that_were_not_clicked(study: PlantedShop) -> None:
    lists = study.lists
    assert lists.clicked.sum(1).tolist() == [9] * 30
    assert not np.take_along_axis(lists.clicked, lists.rows, axis=1).any()
    assert (np.diff(lists.scores, axis=1) <= 0).all()
    assert (lists.strangers != lists.users).all()
    tokens = study.run.ranker.dataset.item_tokens[lists.items[0]].tolist()
    assert [study.shop.items[row].id for row in lists.rows[0]] == tokens
    names = study.run.ranker.dataset.user_tokens[lists.users].tolist()
    assert names == [study.shop.people[number] for number in lists.people]


def test_the_photos_truth_and_that_of_photos_shown_as_new_pictures(study: PlantedShop) -> None:
    """The items' own pictures, shown as a system's, change no utility and no order."""
    lists = study.lists.of(np.arange(3))
    before = study._shown(lists, None)
    probability = inclusion(before.utility, 2, np.random.default_rng([1, 3]))
    expected = expected_ndcg(before.rows[:, :10], probability, 2)
    pictures = study.run.pictures
    photos = pictures.images[pictures.rows([study.shop.items[row].id for row in lists.rows.ravel()])]
    after = study._shown(lists, photos)
    np.testing.assert_allclose(after.utility, before.utility)
    np.testing.assert_array_equal(after.rows, before.rows)
    np.testing.assert_allclose(after.scores, before.scores, atol=1e-5)
    assert np.isneginf(before.utility[lists.clicked]).all()
    assert ((expected > 0) & (expected < 1)).all()


def test_white_pictures_move_utilities_by_taste(study: PlantedShop) -> None:
    """eta w_u . (eye(white) - eye(photo)) on each of the three listed films, on no other."""
    lists = study.lists.of(np.array([4]))
    white = torch.full((3, 3, *study.run.pictures.size), 255, dtype=torch.uint8)
    utility, photos = study._shown(lists, white).utility, study._shown(lists, None).utility
    seen = study.shop.look(white[:1])[0] - study.shop.seen[lists.rows[0]]
    change = np.zeros(N_FILMS)
    change[lists.rows[0]] = seen @ study.shop.tastes[lists.people[0]]
    open_ = ~lists.clicked[0]
    np.testing.assert_allclose(utility[0, open_], photos[0, open_] + change[open_], atol=1e-6)


def test_requests_are_the_persons_or_the_strangers(study: PlantedShop) -> None:
    lists = study.lists.of(np.array([2]))
    own, stranger = (study._requests(lists, owner) for owner in ("own", "stranger"))
    tokens = study.run.ranker.dataset.user_tokens
    assert [request.reference for request in own] == [request.reference for request in stranger]
    assert {request.user for request in own} == {tokens[lists.users[0]]}
    assert {request.user for request in stranger} == {tokens[lists.strangers[0]]}
    assert isinstance(own[0], Request)
    assert len(own[0].history) == 9


@pytest.mark.slow
def test_end_to_end(study: PlantedShop) -> None:
    """Every system has both owners for each measured person; the oracle's pictures are liked at least as much as
    RAGAR's, from which the search begins, and so is what a live test says in words.
    """
    frame = study.truth()
    assert len(frame) == 3 * (1 + 2 * len(SYSTEMS))
    own = frame[frame["owner"] == "own"].set_index(["system", "person"])["liking"]
    assert (own[BEST] >= own[RAGAR] - 1e-3).all()
    assert (frame[frame["system"] == "photos"]["liking"] == 0).all()
    assert study.known_taste(20).shape == (3,)
    assert study.live_test().numbers["reward"]["gain"]["n"] == 20
