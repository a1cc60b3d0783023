"""Two items in black and white, one person who likes light pictures: eye, utility and log by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor

from generation.request import Request
from ragar_rec.evaluation.worlds.eye import Eye
from ragar_rec.evaluation.worlds.picture_shop import Liking, PictureShop, without
from recsys.catalog import Catalog, Item
from recsys.data import own


def greys(*levels: int) -> Tensor:
    """Pictures of 6 x 4 pixels of one grey each."""
    return torch.stack([torch.full((3, 6, 4), level, dtype=torch.uint8) for level in levels])


def shop(*items: Item) -> PictureShop:
    """Utilities under the photos are 1 + .5 - 2 = -.5 and 0 - .5 + 2 = 1.5."""
    return PictureShop(
        items=items or (Item("a"), Item("b")),
        eye=Eye(greys(0, 255), dim=1),
        seen=np.array([[-1.0], [1.0]]),
        popularity=np.array([1.0, 0.0]),
        categories=np.array([0, 1]),
        tastes=np.array([[1.0]]),
        category_tastes=np.array([[0.5, -0.5]]),
        eta=2.0,
    )


def test_the_eye_by_hand() -> None:
    """Of black and white photos the 18 numbers are all 0 or all 1, so that the one coordinate is -1 or 1.

    Middle grey is 0. A white upper third has 6 of 18 numbers at 1: on the line between black and white it is at 1/3,
    whose coordinate is -1/3.
    """
    eye, upper = Eye(greys(0, 0, 255, 255), dim=1), torch.zeros(1, 3, 6, 4)
    upper[:, :, :2] = 1
    pictures = torch.cat([greys(0, 255).float() / 255, torch.full((1, 3, 6, 4), 0.5), upper])
    torch.testing.assert_close(eye(pictures)[:, 0], torch.tensor([-1, 1, 0, -1 / 3]))


def test_coordinates_over_the_catalogue_are_uncorrelated_with_variance_1() -> None:
    photos = torch.randint(0, 256, (300, 3, 12, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    seen = Eye(photos, dim=3)(photos.float() / 255).double()
    torch.testing.assert_close(seen.T @ seen / 300, torch.eye(3).double(), atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match="vary in 1 directions only"):
        Eye(greys(0, 255), dim=2)


def test_utility_by_hand() -> None:
    """With a picture of item a whose coordinate is .5 its utility rises by 2 (.5 + 1) = 3."""
    people = np.array([0])
    np.testing.assert_allclose(shop().utility(people), [[-0.5, 1.5]])
    np.testing.assert_allclose(shop().utility(people, np.array([[0]]), np.array([[[0.5]]])), [[2.5, 1.5]])
    np.testing.assert_allclose(without(np.array([[2.5, 1.5]]), np.array([[True, False]])), [[-np.inf, 1.5]])


def test_liking_is_the_pictures_part_of_the_utility_and_has_a_gradient() -> None:
    """A whole white picture in place of a black one is worth 2 (1 + 1); all 72 numbers share it alike."""
    images = (greys(0, 255).float() / 255).requires_grad_()
    request = Request("person0", "a", (), 0)
    scores = Liking(shop())([request, request], images)
    torch.testing.assert_close(scores, torch.tensor([-2.0, 2.0]))
    (gradient,) = torch.autograd.grad(scores.sum(), images)
    torch.testing.assert_close(gradient, torch.full_like(images, 4 / 72))


def test_the_log_is_a_data_set_of_ones_own(tmp_path: Path) -> None:
    """First clicks are as frequent as their probabilities say, and the reader of own files takes the log as it is."""
    for name in "ab":
        Image.new("RGB", (4, 6)).save(tmp_path / f"{name}.png")
    items = (*(Item(name, name.upper(), ("Drama",), "", tmp_path / f"{name}.png") for name in "ab"), Item("c"))
    drawn = PictureShop.draw(items, greys(0, 255, 128), people=400, eta=0.0, seed=0, dim=1)
    drawn.write(tmp_path, 3, np.random.default_rng(0))
    clicks = pd.read_csv(tmp_path / "interactions.csv")
    assert clicks["timestamp"].tolist() == [0, 1, 2] * 400
    assert not clicks.duplicated(["user_id", "item_id"]).any()
    weights = np.exp(drawn.utility(np.arange(400)))
    expected = (weights / weights.sum(1, keepdims=True)).mean(0)
    first = clicks.query("timestamp == 0")["item_id"].to_numpy()
    np.testing.assert_allclose([(first == name).mean() for name in "abc"], expected, atol=0.06)
    summary = own.prepare(tmp_path, tmp_path / "atomic", "planted")
    assert (summary.users, summary.items, summary.interactions, summary.items_without_image) == (400, 3, 1200, 1)
    assert Catalog.read(tmp_path / "catalog.csv")["a"].tags == ("Drama",)


def test_people_are_drawn_by_the_seed() -> None:
    items = tuple(Item(name, tags=tags) for name, tags in (("a", ("x", "y")), ("b", ("y",)), ("c", ())))
    one, again, other = (
        PictureShop.draw(items, greys(0, 255, 99), people=5, eta=1.0, seed=seed, dim=1) for seed in (0, 0, 1)
    )
    assert one.categories.tolist() == [1, 2, 0]  # "" comes first
    np.testing.assert_allclose(np.linalg.norm(one.tastes, axis=1), 1)
    np.testing.assert_array_equal(one.tastes, again.tastes)
    assert not np.array_equal(one.popularity, other.popularity)
    assert one.people == ["person0", "person1", "person2", "person3", "person4"]
