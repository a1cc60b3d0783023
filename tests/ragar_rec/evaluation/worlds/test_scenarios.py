"""What is planted: looks, photos that show a part of them, and what each system paints."""

import numpy as np
import pytest

from ragar_rec.evaluation.worlds.scenarios import DIM, PAINT, SCENARIOS, SHOWN, STAMP, World
from ragar_rec.evaluation.worlds.shop import Shop, gaussian_cloud, whitened

PEOPLE, ITEMS = 30, 400


def world(name: str, features: np.ndarray | None = None) -> World:
    return SCENARIOS[name].world(features, people=PEOPLE, items=ITEMS, seed=1)


def liked(shop: Shop, pictures: np.ndarray) -> np.ndarray:
    """w_u . p of every person and item."""
    return np.einsum("ud,uid->ui", shop.tastes, pictures[..., :DIM])


def test_utility_by_hand() -> None:
    """Popularity 1, category 10, look tau * (3 * .6 + 4 * .8) = 2 * 5, photo eta * .6 = .5 * .6: 21.3; with a picture
    of (0, 1) eta * .8 instead: 21.4.
    """
    shop = Shop(
        looks=np.array([[3.0, 4]]),
        photos=np.array([[1.0, 0, 7]]),
        popularity=np.array([1.0]),
        categories=np.array([1]),
        tastes=np.array([[0.6, 0.8]]),
        common_taste=np.array([1.0, 0]),
        category_tastes=np.array([[0.0, 10]]),
        new=np.array([False]),
        tau=2.0,
        eta=0.5,
    )
    assert shop.utility() == pytest.approx(21.3)
    assert shop.utility(np.array([[[0.0, 1, 7]]])) == pytest.approx(21.4)


def test_looks_are_white_and_photos_show_a_part() -> None:
    shop = world("serves").shop
    np.testing.assert_allclose(np.cov(shop.looks.T, bias=True), np.eye(DIM), atol=1e-5)
    shown = [np.corrcoef(shop.looks[:, at], shop.photos[:, at])[0, 1] for at in range(DIM)]
    assert np.mean(shown) == pytest.approx(SHOWN, abs=0.05)
    assert shop.new.sum() == ITEMS // 2
    np.testing.assert_allclose(np.linalg.norm(shop.tastes, axis=1), 1)


def test_what_serves_shows_the_person_what_the_photo_hides() -> None:
    """w_u . p = w_u . look_i + a; what is orthogonal to the taste is the photo's."""
    shop, pictures = (found := world("serves")).shop, found.pictures
    np.testing.assert_allclose(liked(shop, pictures), shop.tastes @ shop.looks.T + PAINT)
    moved = pictures[..., :DIM] - shop.photos[:, :DIM]
    np.testing.assert_allclose(np.linalg.norm(moved, axis=-1), np.abs(liked(shop, moved)))


def test_what_flatters_pleases_by_every_item_alike() -> None:
    shop, pictures = (found := world("flatters")).shop, found.pictures
    np.testing.assert_allclose(liked(shop, pictures - shop.photos), PAINT)


def test_what_pleases_everybody_is_one_picture_an_item() -> None:
    pictures = world("pleases everybody").pictures
    assert (pictures == pictures[:1]).all()
    assert (world("pleases and paints").pictures[0] != world("pleases and paints").pictures[1]).any()


def test_where_nobody_looks_utility_knows_no_look() -> None:
    shop = world("nobody looks").shop
    np.testing.assert_allclose(shop.utility(), shop.popularity + shop.category_tastes[:, shop.categories])


def test_a_badge_tells_popularity() -> None:
    shop, pictures = (found := world("watermark")).shop, found.pictures
    assert np.corrcoef(shop.photos[:, DIM], shop.popularity)[0, 1] == pytest.approx(0.7, abs=0.05)
    assert np.corrcoef(pictures[0, :, DIM], shop.popularity)[0, 1] == pytest.approx(1)
    assert pictures[0, :, DIM].std() == pytest.approx(STAMP)
    assert not world("serves").shop.photos[:, DIM].any()


def test_the_items_are_those_of_the_users_own_pictures() -> None:
    """Of a table whose rows lie in a plane and otherwise vary by a thousandth, the looks find the plane."""
    rng = np.random.default_rng(0)
    features = gaussian_cloud(500, rng, width=20)
    looks = whitened(features, DIM)
    np.testing.assert_allclose(looks.T @ looks / 500, np.eye(DIM), atol=1e-5)
    assert world("serves", features).shop.looks.shape == (ITEMS, DIM)
    with pytest.raises(ValueError, match="a world of 400 items needs as many pictures, got the features of 7"):
        world("serves", features[:7])
