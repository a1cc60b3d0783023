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
