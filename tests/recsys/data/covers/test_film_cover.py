from itertools import combinations

import numpy as np
import pytest

from recsys.data.covers.film_cover import RAREST_FIRST, SIZE, cover, known_genres


def pixels(item_id: str = "1", title: str = "Alien", genres: tuple[str, ...] = ("Horror",), year: int | None = 1979):
    return np.asarray(cover(item_id, title, genres, year), dtype=float)


def test_a_cover_is_the_same_again():
    image = cover("50", "Star Wars (1977)", ("Action", "Sci-Fi"), 1977)
    assert (image.size, image.mode) == (SIZE, "RGB")
    assert image.tobytes() == cover("50", "Star Wars (1977)", ("Action", "Sci-Fi"), 1977).tobytes()


def test_every_genre_has_a_cover_of_its_own():
    """Same id, title and year, so nothing but the genre differs: 20 of 255 steps on average, at least 5 in any pair."""
    drawn = {genre: pixels(genres=(genre,)) for genre in (*RAREST_FIRST, "no genre")}
    distances = {(a, b): np.abs(drawn[a] - drawn[b]).mean() for a, b in combinations(drawn, 2)}
    assert len(RAREST_FIRST) == 18
    assert min(distances.values()) > 5, min(distances, key=distances.__getitem__)
    assert np.mean(list(distances.values())) > 20


@pytest.mark.parametrize(
    "changed",
    [
        *[{"item_id": "2"}, {"title": "Aliens"}, {"title": ""}],
        *[{"genres": ("Horror", "Sci-Fi")}, {"year": 1935}, {"year": None}],
    ],
)
def test_whatever_is_known_of_an_item_shows(changed):
    assert np.abs(pixels() - pixels(**changed)).mean() > 0.5


def test_genres_come_rarest_first_and_unknown_ones_are_ignored():
    assert known_genres(["Drama", "unknown", "Children's", "Western"]) == ["Western", "Children", "Drama"]
    assert np.array_equal(pixels(genres=("no genre",)), pixels(genres=()))
    assert np.array_equal(pixels(genres=("Drama", "Western")), pixels(genres=("Western", "Drama")))


def test_a_title_that_never_fits_is_cut_and_the_year_in_it_is_not_set():
    assert pixels(title="Incredibly " * 30).shape == (96, 64, 3)
    assert np.array_equal(pixels(title="Alien (1979)"), pixels(title="Alien"))


def test_other_sizes_are_2_to_3():
    assert cover("1", "Alien", (), None, size=(32, 48)).size == (32, 48)
    with pytest.raises(ValueError, match="a cover is 2:3, such as 64x96; got 64x64"):
        cover("1", "Alien", (), None, size=(64, 64))
