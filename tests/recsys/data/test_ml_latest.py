import os
from pathlib import Path

import pytest
from PIL import Image

from recsys.catalog import Catalog
from recsys.data import ml_latest
from recsys.data.atomic import Summary


def raw(folder: Path) -> Path:
    """Three films (one poster, one plot), one person with three ratings and one with two."""
    (folder / "posters").mkdir(parents=True)
    (folder / "movies.csv").write_text(
        'movieId,title,genres\n5,"American President, The (1995)",Comedy|Drama\n'
        "9,Nameless,(no genres listed)\n70,Third,War\n"
    )
    (folder / "ratings.csv").write_text(
        "userId,movieId,rating,timestamp\n8,5,4.0,30\n8,9,3.5,20\n8,70,1,10\n2,5,4.0,1\n2,9,4.0,2\n"
    )
    (folder / "overviews.csv").write_text("movieId,overview,source\n5,He governs.,x\n")
    Image.new("RGB", (4, 6)).save(folder / "posters" / "5.jpg")
    return folder


def test_films_ratings_plots_and_posters_come_together(tmp_path):
    source = raw(tmp_path / "raw")
    summary = ml_latest.prepare(source, tmp_path)
    assert summary == Summary(
        users=1,
        items=3,
        interactions=3,
        duplicates_dropped=0,
        users_dropped=1,
        items_without_image=2,
        items_without_text=0,
    )
    catalog = Catalog.read(tmp_path / "ml-latest" / "catalog.csv")
    assert catalog["5"].text == "American President, The (1995). Comedy, Drama. He governs."
    assert catalog["5"].image == source / "posters" / "5.jpg"
    assert catalog["9"].tags == ()
    assert catalog.without_image == ["9", "70"]


def test_plots_are_optional(tmp_path):
    source = raw(tmp_path / "raw")
    (source / "overviews.csv").unlink()
    ml_latest.prepare(source, tmp_path)
    assert Catalog.read(tmp_path / "ml-latest" / "catalog.csv")["5"].description == ""


def test_the_fingerprint_moves_with_tables_and_with_which_posters_there_are(tmp_path):
    source = raw(tmp_path / "raw")
    first = ml_latest.fingerprint(source)
    assert ml_latest.fingerprint(source) == first
    Image.new("RGB", (4, 6), "red").save(source / "posters" / "5.jpg")
    assert ml_latest.fingerprint(source) == first  # pixels are the business of whoever reads them
    Image.new("RGB", (4, 6)).save(source / "posters" / "9.jpg")
    second = ml_latest.fingerprint(source)
    (source / "overviews.csv").unlink()
    third = ml_latest.fingerprint(source)
    moved = source.rename(tmp_path / "moved")  # the catalogue of before names posters that are no longer there
    assert len({first, second, third, ml_latest.fingerprint(moved)}) == 4


def test_a_folder_that_lacks_a_table_is_named(tmp_path):
    source = raw(tmp_path / "raw")
    (source / "movies.csv").unlink()
    for step in (ml_latest.fingerprint, lambda data: ml_latest.prepare(data, tmp_path)):
        with pytest.raises(FileNotFoundError, match=f"no movies.csv in {source}"):
            step(source)


def posters() -> Path:
    """The real films with posters: in $RAGAR_DATA, or beside the repository."""
    return Path(os.environ.get("RAGAR_DATA") or Path(__file__).parents[4] / "shared" / "data") / "movie-posters"


@pytest.mark.skipif(not posters().is_dir(), reason=f"no movie-posters in {posters().parent}; set RAGAR_DATA")
def test_the_real_films_with_posters(tmp_path):
    """610 people, 9,742 films and 100,836 ratings, as GroupLens says; 9,519 posters were found for them."""
    summary = ml_latest.prepare(posters(), tmp_path)
    assert (summary.users, summary.items, summary.interactions) == (610, 9742, 100_836)
    assert (summary.items_without_image, summary.items_without_text) == (9742 - 9519, 0)
    assert (summary.duplicates_dropped, summary.users_dropped) == (0, 0)
