from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from recsys.catalog import Catalog
from recsys.data import own


def raw(folder: Path, rating: str = "") -> Path:
    folder.mkdir()
    (folder / "catalog.csv").write_text("item_id,title,tags,image\nx,Mug,blue|cup,x.png\n9,Cap,,9.png\nz,,,\n")
    rows = "".join(f"ann,{item},{time}{',2' if rating else ''}\n" for time, item in enumerate(["z", "x", "9"]))
    (folder / "interactions.csv").write_text(f"user_id,item_id,timestamp{rating}\n{rows}")
    Image.new("RGB", (4, 6)).save(folder / "x.png")
    return folder


@pytest.mark.parametrize(("rating", "value"), [("", 1.0), (",rating", 2.0)])
def test_two_tables_are_enough_and_a_rating_is_kept(tmp_path, rating, value):
    source = raw(tmp_path / "raw", rating)
    summary = own.prepare(source, tmp_path, "shop")
    assert (summary.users, summary.items, summary.interactions) == (1, 3, 3)
    assert (summary.items_without_image, summary.items_without_text) == (2, 1)
    catalog = Catalog.read(tmp_path / "shop" / "catalog.csv")
    assert catalog["x"].image == source / "x.png"
    assert catalog["x"].tags == ("blue", "cup")
    table = pd.read_csv(tmp_path / "shop" / "shop.inter", sep="\t")
    assert set(table["rating:float"]) == {value}
    assert table["item_id:token"].tolist() == ["z", "x", "9"]


def test_the_fingerprint_moves_with_tables_and_with_which_pictures_there_are(tmp_path):
    source = raw(tmp_path / "raw")
    first = own.fingerprint(source)
    Image.new("RGB", (4, 6), "red").save(source / "x.png")
    assert own.fingerprint(source) == first
    Image.new("RGB", (4, 6)).save(source / "9.png")
    second = own.fingerprint(source)
    with (source / "interactions.csv").open("a") as file:
        file.write("bob,x,1\n")
    assert len({first, second, own.fingerprint(source)}) == 3


def test_missing_files_and_columns_are_named(tmp_path):
    source = raw(tmp_path / "raw")
    (source / "interactions.csv").write_text("user_id,item_id\nann,x\n")
    with pytest.raises(
        ValueError, match=r"interactions\.csv has no column timestamp; its columns are user_id, item_id"
    ):
        own.prepare(source, tmp_path)
    (source / "interactions.csv").unlink()
    with pytest.raises(FileNotFoundError, match=f"no interactions.csv in {source}"):
        own.fingerprint(source)


def test_a_catalogue_without_a_column_of_images_is_refused(tmp_path):
    """Empty cells are holes; a column of another name would make every item one."""
    source = raw(tmp_path / "raw")
    (source / "catalog.csv").write_text("item_id,title,image_path\nx,Mug,x.png\n")
    with pytest.raises(ValueError, match=r"catalog\.csv has no column image; .*: rename image_path to image"):
        own.fingerprint(source)
    (source / "catalog.csv").write_text("item_id,title\nx,Mug\n")
    with pytest.raises(
        ValueError, match=r"no column image; .*: add image, with empty cells for items without a picture"
    ):
        own.prepare(source, tmp_path)


def test_one_rule_for_blanks_around_ids(tmp_path):
    source = raw(tmp_path / "raw")
    (source / "catalog.csv").write_text("item_id,image\n x,\n9 ,\nz,\n")
    (source / "interactions.csv").write_text("user_id,item_id,timestamp\nann,x ,1\n ann,9,2\nann ,z,3\n")
    summary = own.prepare(source, tmp_path, "shop")
    assert (summary.users, summary.items, summary.interactions) == (1, 3, 3)


def test_unknown_items_are_refused_or_dropped(tmp_path):
    source = raw(tmp_path / "raw")
    with (source / "interactions.csv").open("a") as file:
        file.write("ann,gone,7\n")
    with pytest.raises(ValueError, match=r"1 of 4 interactions in .*interactions\.csv .* 'gone' \(line 5\)"):
        own.prepare(source, tmp_path, "shop")
    summary = own.prepare(source, tmp_path, "shop", unknown_items="drop")
    assert (summary.interactions, summary.interactions_with_unknown_items_dropped) == (3, 1)


def test_the_fingerprint_moves_with_why_there_is_no_image(tmp_path):
    source = raw(tmp_path / "raw")
    first = own.fingerprint(source)
    (source / "9.png").mkdir()
    assert own.fingerprint(source) != first
