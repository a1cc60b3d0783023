from pathlib import Path

import pytest
from PIL import Image

from recsys.catalog import Catalog
from recsys.data import ml_100k
from recsys.data.atomic import Summary


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary]:
    folder = tmp_path_factory.mktemp("ml-100k")
    return folder / "ml-100k", ml_100k.prepare(None, folder)


def test_the_embedded_data_set_is_whole(prepared):
    """GroupLens' own figures: 943 people, 1,682 films, 100,000 ratings; everybody has 20 at least, none twice."""
    folder, summary = prepared
    assert (summary.users, summary.items, summary.interactions) == (943, 1682, 100_000)
    assert (summary.duplicates_dropped, summary.users_dropped) == (0, 0)
    assert (summary.items_without_image, summary.items_without_text) == (0, 0)
    assert len((folder / "ml-100k.inter").read_text().splitlines()) == 100_001
    assert len((folder / "ml-100k.item").read_text().splitlines()) == 1683


def test_every_film_has_words_and_a_cover(prepared):
    folder, _ = prepared
    catalog = Catalog.read(folder / "catalog.csv")
    assert catalog["1"].title == "Toy Story (1995)"
    assert catalog["1"].tags == ("Animation", "Children", "Comedy")
    assert len({item.image for item in catalog}) == 1682
    with Image.open(folder / "images" / "1.png") as picture:
        assert picture.size == (64, 96)
    assert not any("unknown" in item.tags for item in catalog)


def test_the_fingerprint_is_of_the_contents(tmp_path):
    for suffix in ("inter", "item"):
        (tmp_path / f"ml-100k.{suffix}").write_bytes((ml_100k.source() / f"ml-100k.{suffix}").read_bytes())
    assert ml_100k.fingerprint(tmp_path) == ml_100k.fingerprint(None)
    with (tmp_path / "ml-100k.item").open("a") as file:
        file.write("\n")
    assert ml_100k.fingerprint(tmp_path) != ml_100k.fingerprint(None)


def test_a_folder_without_the_files_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"no ml-100k\.inter in {tmp_path}"):
        ml_100k.prepare(tmp_path, tmp_path / "to")
